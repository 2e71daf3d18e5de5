"""Every exception and every warning that initreg raises, one class per kind.

Each error is an :class:`InitregError`, so ``except InitregError`` catches them all. Where Python
has a class for the same thing, the error is one of that class too: a missing file is also a
:class:`FileNotFoundError`, and a missing library is also an :class:`ImportError`.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from initreg.option_spelling import Spelt, option


def printable(text: str, keep: str = "") -> str:
    """Escape control characters and unusual spaces, so that a name from a file cannot move the
    cursor, change colours, or look like another line or another name.

    Args:
        text: what is to be shown.
        keep: characters that are not escaped.
    """
    if text.isprintable():
        return text
    if isinstance(text, Spelt):
        return text.mapped(lambda piece: printable(piece, keep))
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text
    )


def one_line(name: str) -> str:
    """The name of a file without line breaks, for a message.

    Messages may have several lines, so :func:`printable` leaves line breaks in them alone. A file
    may be called ``a\\nit is complete.npz``, and is not to imitate a line.
    """
    return name.replace("\n", "\\n")


class InitregError(Exception):
    """The base of every error that initreg raises on purpose."""

    def __str__(self) -> str:
        # Not super(): OSError would print the errno as well. Some errors list names in lines.
        return printable(Exception.__str__(self), keep="\n")


def is_fault(error: BaseException) -> bool:
    """Whether code of somebody else failed: a plugin, a library, or an object of the user's.

    Such an error must not break anything else, whatever it is. SystemExit is one: ``sys.exit()`` in
    a plugin would end every program that uses initreg. A panic of Rust and a skip of pytest are no
    ``Exception`` either. KeyboardInterrupt and what the handler of a signal raises are the user's.
    """
    if isinstance(error, (KeyboardInterrupt, GeneratorExit)):
        return False
    return not _is_by_signal(error)


def _is_by_signal(error: BaseException) -> bool:
    """Whether a handler of a signal raised it, which may run in the middle of a plugin's code.

    That is the program's own: ``sys.exit()`` on SIGTERM, for instance.
    """
    import signal

    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    codes = [code for each in handlers if (code := getattr(each, "__code__", None)) is not None]
    trace = error.__traceback__
    while trace is not None:
        if any(trace.tb_frame.f_code is code for code in codes):
            return True
        trace = trace.tb_next
    return False


def brief(error: BaseException) -> str:
    """The type and the message of an error, on one line."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # a class of somebody else's
        text = ""
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


# --- the source -------------------------------------------------------------------------------


class SourceNotFound(InitregError, FileNotFoundError):
    """The path does not exist: there is no such file, folder or checkpoint prefix."""


class UnreadableFile(InitregError, OSError):
    """The file exists, but the system cannot read it, for instance for lack of permission."""


class LocalOnly(InitregError):
    """A plugin or an option needs a local file, and the source is in a store or in memory."""


class UnwritableFile(InitregError, OSError):
    """A file cannot be written: no such folder, no permission, a full disk.

    The old file is unchanged.
    """


class UnknownFormat(InitregError):
    """No installed format claims the source, or the format asked for is not installed."""


class AmbiguousSource(InitregError):
    """Two formats claim the source with the same confidence. Choose one with ``format=``."""


# How many times its size a deflate stream can unpack to. Source: RFC 1951, by which 2 bits give at
# most 258 bytes.
_DEFLATE_RATIO = 1032
# A format may give several names to the same bytes.
_SHARED = 4


class DamagedFile(InitregError):
    """The file has a known format, but it is truncated, corrupt or inconsistent with itself."""

    @classmethod
    def check_deflate(
        cls,
        what: str,
        size: int,
        unpacked: int,
        spare: int = 0,
        remedy: str = "Download or copy the file again",
    ) -> None:
        """Refuse a size that deflate cannot reach.

        This is for formats whose library unpacks. initreg checks each ``Extent`` itself.

        Args:
            what: the file and the array, as the message is to begin.
            size: bytes as they are packed.
            unpacked: bytes after unpacking.
            spare: how many more bytes are always allowed.
            remedy: how the message is to end.

        Raises:
            DamagedFile: deflate cannot pack ``unpacked`` bytes into ``size`` bytes.
        """
        if unpacked > size * _DEFLATE_RATIO + spare:
            raise cls(
                f"{what} claims to hold {unpacked:,} bytes in {size:,}, more than deflate can pack "
                f"(at most {_DEFLATE_RATIO:,} times as many). {remedy}"
            )

    @classmethod
    def check_shared(cls, what: str, size: int, nbytes: int) -> None:
        """Refuse arrays that are not packed, and take many times the bytes that the file has,
        because they share them. 64 MB and 4 times the file are always allowed.

        This is for arrays that are no ``Extent``. initreg checks those itself.

        Args:
            what: the file, as the message is to begin.
            size: the bytes of the file.
            nbytes: the bytes of all these arrays.

        Raises:
            DamagedFile: ``nbytes`` is more than that.
        """
        if nbytes > _SHARED * size + (64 << 20):
            raise cls(
                f"{what}: its arrays take {nbytes:,} bytes of a file that has only {size:,}. They "
                "overlap, so that a small file could fill the memory. The file was made to do "
                "this, or its header is wrong"
            )


class RefusedFile(InitregError):
    """The file could be opened, but that is unsafe.

    It is a pickle, it links to other files, or it would unpack to so much that it could fill the
    memory.
    """

    @classmethod
    def check_inflation(cls, what: str, size: int, unpacked: int, allowed: float) -> None:
        """Refuse packed data that would unpack to too much. Up to 64 MB is always allowed.

        Args:
            what: the file and the array, as the message is to begin.
            size: bytes as they are packed.
            unpacked: bytes after unpacking.
            allowed: how many times ``size`` may come out.

        Raises:
            RefusedFile: ``unpacked`` is above both limits.
        """
        if unpacked > max(size * allowed, 64 << 20):
            times = -(-unpacked // max(1, size))
            raise cls(
                f"{what} unpacks from {size:,} bytes to {unpacked:,}, {times:,} times as many. At "
                f"most {allowed:,g} times are allowed, since a small file could fill the memory. "
                "If you trust the file (an array of zeros packs this well), pass "
                + option("max_inflation", times)
            )


# --- plugins ----------------------------------------------------------------------------------


class MissingLibrary(InitregError, ImportError):
    """A plugin needs a library that is not installed.

    Args:
        plugin: what needs it, as in ``"format 'h5'"``.
        library: the name that it is imported by.
        remedy: the command that installs it.
    """

    def __init__(self, plugin: str, library: str, remedy: str) -> None:
        super().__init__(f"{plugin} needs {library}: {remedy}")
        self.plugin = plugin
        self.library = library
        self.remedy = remedy


class NotEnoughMemory(InitregError, MemoryError):
    """An array, or a plugin, needs more memory than the process may take.

    That says nothing about the file.
    """

    @classmethod
    def of(cls, what: str) -> NotEnoughMemory:
        """The error of what needs so much, as in ``"m.npz: array 'w'"``."""
        return cls(
            f"{what}: needs more memory than this process may take. Give it more: see `ulimit -v`, "
            "or the limit of its container or job"
        )


class PluginError(InitregError):
    """A plugin does not do what ``initreg/plugin/hookspecs.py`` asks of it."""


# --- names and matching -----------------------------------------------------------------------


class DuplicateName(InitregError):
    """Two arrays of one source, or two variables of one target, have the same name."""


class AmbiguousNames(InitregError):
    """The names of the arrays can be read in several ways: their names and their places contradict
    each other, or several parts of the source fit. The message shows the readings, and the option
    that decides.
    """


class UnknownTarget(InitregError):
    """No installed target knows how to write into the object."""


class TargetError(InitregError):
    """The target cannot be written: a read-only array, a closed session, a model not yet built."""


class PlanError(InitregError):
    """The plan cannot be carried out, and nothing was written.

    Args:
        message: everything that is wrong.
        plan: the whole :class:`initreg.plan.Plan`.
    """

    def __init__(self, message: str, plan: Any = None) -> None:
        super().__init__(message)
        self.plan = plan


class MismatchError(PlanError):
    """Arrays do not fit the variables of the same name. The message lists all of them."""


class NothingMatched(PlanError):
    """No array has the name of a variable."""


class MissingError(PlanError):
    """No source supplies some variables, and ``on_missing="error"`` does not allow that."""


class UnusedError(PlanError):
    """No variable takes some arrays, and ``on_unused="error"`` does not allow that."""


class MergeError(PlanError):
    """Arrays cannot be merged: shapes differ, a source lacks them, or their values are not floats
    and differ. The message lists all of them. ``plan`` is an :class:`initreg.MergePlan`.
    """


class RuleError(InitregError, ValueError):
    """A rule is wrong: it matches no array, gives two arrays the same name, cannot be applied to
    its array, or has the wrong type.

    An option of :class:`initreg.SmartInit` with an unknown value is this error, too.
    """


class PartialRestoreError(InitregError):
    """Reading or writing failed after some variables had already been written.

    Args:
        message: what failed.
        written: names of the variables that have their new values.
        not_written: names of the variables that have their old values.
    """

    def __init__(self, message: str, written: Sequence[str], not_written: Sequence[str]) -> None:
        super().__init__(message)
        self.written = tuple(written)
        self.not_written = tuple(not_written)


# --- warnings ---------------------------------------------------------------------------------


class InitregWarning(UserWarning):
    """The base of every warning that initreg gives."""

    def __str__(self) -> str:
        return printable(super().__str__(), keep="\n")


class MissingWarning(InitregWarning):
    """No source supplies some variables of the target. They are not restored."""


class UnusedWarning(InitregWarning):
    """The target has no variables for some arrays of a source."""


class NamingWarning(InitregWarning):
    """Arrays were matched by their places although people gave them other names."""


class StateWarning(InitregWarning):
    """The state of an optimizer is not restored, or it may be that of another optimizer."""


class ReshapeWarning(InitregWarning):
    """Axes of length 1 are added to arrays, or removed from them, to fit their variables."""


class CastWarning(InitregWarning):
    """Arrays are cast to the dtypes of their variables, or values are lost by a cast."""


class MetadataWarning(InitregWarning):
    """Metadata of a source is not kept: the format that is saved has no place for it, or several
    sources have different values."""


class MergeWarning(InitregWarning):
    """Sources of a merge have values that are NaN or infinite, and so has the result."""


class AxesWarning(InitregWarning):
    """Arrays fit as they are and in another order of axes, and other kernels are in that order."""


class MismatchWarning(InitregWarning):
    """Arrays do not fit and are skipped, because of ``ignore_mismatch=True``."""


class ResumeWarning(InitregWarning):
    """Incomplete checkpoints are skipped for an older one, or there is no complete one."""


class UnmetWarning(InitregWarning):
    """Patterns of ``expect_missing``, ``expect_unused`` or ``ignore`` match nothing."""


# --- giving warnings --------------------------------------------------------------------------

_HERE = os.path.join(os.fspath(Path(__file__).parent), "")
_FRAMEWORKS = frozenset({"tensorflow", "keras", "tf_keras", "tensorpack"})


def warn(message: str, category: type[InitregWarning]) -> None:
    """Give a warning that points to the line of the user's code that called initreg."""
    warnings.warn(message, category, stacklevel=_outside())


def _outside() -> int:
    """The ``stacklevel`` of the user's frame that called initreg, seen from our caller.

    It is the caller of the outermost frame of initreg, because plugins call back into initreg, so
    that their frames lie in between. A framework may have called that frame, as a hook or a
    callback. Then it is the frame that called the framework.
    """
    frame, level, found = sys._getframe(1), 1, 1
    while frame.f_back is not None:
        root = frame.f_globals.get("__name__", "").partition(".")[0]
        if frame.f_code.co_filename.startswith(_HERE) or (level == found and root in _FRAMEWORKS):
            found = level + 1
        frame, level = frame.f_back, level + 1
    return found
