"""A headless Chromium that tests drive, over a pipe.

Source: the Chrome DevTools Protocol, with ``--remote-debugging-pipe``: messages are JSON that ends
in NUL, written to the browser's file 3 and read from its file 4. So no library is needed, and no
port.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE = 120.0  # seconds until an answer is late, on a busy machine


def program() -> str | None:
    """The path of the browser: ``$INITREG_CHROMIUM``, or the first on PATH. None without one."""
    given = os.environ.get("INITREG_CHROMIUM")
    return given or next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """One browser with one page. Use it in a ``with``.

    Attributes:
        requests: the URLs that pages asked for.
        complaints: what the browser said on the console: errors of scripts, and what a
            Content-Security-Policy forbade.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._number = 0
        self._answers: dict[int, dict[str, Any]] = {}
        self._events: list[dict[str, Any]] = []
        self._buffer = b""

    def __enter__(self) -> Self:
        found = program()
        assert found is not None
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        theirs, self._to = os.pipe()
        self._from, ours = os.pipe()
        arguments = [
            *(found, "--headless=new", "--remote-debugging-pipe", "--no-first-run"),
            *("--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            f"--user-data-dir={self._folder.name}",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
        ]
        # A shell, since Python would choose the numbers of the files itself.
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{theirs} 4>&{ours}', "bash", *arguments],
            pass_fds=(theirs, ours),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs)
        os.close(ours)
        target = self._call("Target.createTarget", {"url": "about:blank"})["targetId"]
        attached = self._call("Target.attachToTarget", {"targetId": target, "flatten": True})
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._to)
        os.close(self._from)
        self._folder.cleanup()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol for the page."""
        return self._call(method, parameters, self._session)

    def _call(
        self, method: str, parameters: dict[str, Any], session: str | None = None
    ) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data) :]
        number = self._number
        self._wait(lambda: number in self._answers, method)
        answer = self._answers.pop(number)
        assert "error" not in answer, answer["error"]
        found: dict[str, Any] = answer["result"]
        return found

    def _wait(self, is_done: Any, what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not is_done():
            ready, _, _ = select.select([self._from], [], [], max(end - time.monotonic(), 0))
            assert ready, f"no answer to {what}"
            data = os.read(self._from, 1 << 20)
            assert data, "the browser ended"
            *messages, self._buffer = (self._buffer + data).split(b"\0")
            for message in map(json.loads, messages):
                if "id" in message:
                    self._answers[message["id"]] = message
                else:
                    self._note(message)

    def _note(self, event: dict[str, Any]) -> None:
        method, given = event["method"], event.get("params", {})
        self._events.append(event)
        if method == "Network.requestWillBeSent":
            self.requests.append(given["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = given["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded":
            self.complaints.append(given["entry"]["text"])
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(str([each.get("value") for each in given["args"]]))

    def open(self, path: Path, *, width: int = 1200, height: int = 900, dark: bool = False) -> None:
        """Open a page from a file, and wait until it is loaded."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.scheme(dark)
        self._events.clear()
        self.requests.clear()
        self.complaints.clear()
        self.call("Page.navigate", url=path.absolute().as_uri())
        loaded = "Page.loadEventFired"
        self._wait(lambda: any(each["method"] == loaded for each in self._events), loaded)

    def scheme(self, dark: bool) -> None:
        """Prefer dark colours, or light ones."""
        value = "dark" if dark else "light"
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": value}],
        )

    def run(self, script: str) -> Any:
        """Run a script in the page, and return the value of its last expression."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        details = answer.get("exceptionDetails")
        assert details is None, details
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key, as a user does."""
        text = {"Enter": "\r", "Space": " "}.get(key, key if len(key) == 1 else "")
        name = " " if key == "Space" else key
        codes = {"Enter": 13, "Space": 32, "Tab": 9, "Escape": 27}
        more = {"windowsVirtualKeyCode": codes[key]} if key in codes else {}
        kind = "keyDown" if text else "rawKeyDown"
        self.call("Input.dispatchKeyEvent", type=kind, key=name, text=text, code=key, **more)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=name, code=key, **more)

    def screenshot(self, path: Path, *, full: bool = True) -> None:
        """Write a picture of the page as PNG."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=full, format="png")
        path.write_bytes(base64.b64decode(found["data"]))

    def pdf(self) -> bytes:
        """The page as it is printed."""
        found = self.call("Page.printToPDF", printBackground=True)
        return base64.b64decode(found["data"])
