"""Progress: what is done of all bytes, told to a function or shown as a bar."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from initreg.arrays.lazy_array import LazyArray
from initreg.arrays.saved import Progress
from initreg.errors import InitregError

_DELAY = 0.5  # seconds before a bar is shown, so that quick work shows none


@contextlib.contextmanager
def shown(progress: Progress | bool | None) -> Iterator[Progress | None]:
    """The function to report progress to, None if nobody wants to know.

    Args:
        progress: such a function, or True for a bar on a terminal or in a notebook.

    Raises:
        InitregError: it is something else.
    """
    if progress is None or progress is False:
        yield None
    elif progress is not True:
        if not callable(progress):
            raise InitregError(
                "progress: give a function of the bytes that are done and of all bytes, or True. "
                f"This is of type {type(progress).__name__}"
            )
        yield progress
    elif (kind := _bar()) is None:
        yield None
    else:
        with kind(unit="B", unit_scale=True, leave=False, delay=_DELAY) as bar:

            def show(done: int, total: int) -> None:
                if bar.total != total:
                    bar.total = total
                bar.update(done - bar.n)

            yield show


def _bar() -> Any | None:
    """The class of a progress bar, None where nobody would see it: in a pipe or a file."""
    if _is_notebook():
        from tqdm.auto import tqdm as in_notebook

        return in_notebook
    if sys.stderr is None or not sys.stderr.isatty():
        return None
    from tqdm import tqdm

    return tqdm


def _is_notebook() -> bool:
    """Whether the program runs in a notebook. Nothing is imported to find out."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


class Done:
    """Counts the bytes of arrays that are done, and reports them, with all bytes from the start.

    Args:
        report: what is told, or None.
        arrays: all arrays.
    """

    def __init__(self, report: Progress | None, arrays: Iterable[LazyArray]) -> None:
        self._report = report
        self._done = 0
        if report is not None:
            self._total = sum(array.spec.nbytes or 0 for array in arrays)
            report(0, self._total)

    def add(self, array: LazyArray) -> None:
        """An array is done."""
        if self._report is not None:
            self._done += array.spec.nbytes or 0
            self._report(self._done, self._total)


class Counted:
    """Passes pairs of a variable and its values on, and reports the bytes of these.

    A cast may change how many there are, so that the last report says that all are done.

    Args:
        report: what is told, or None.
        arrays: all arrays.
    """

    def __init__(self, report: Progress | None, arrays: Sequence[LazyArray]) -> None:
        self._report = report
        self._done = 0
        self._total = sum(array.spec.nbytes or 0 for array in arrays) if report else 0
        if report is not None:
            report(0, self._total)

    def __call__(self, pairs: Iterable[Any]) -> Iterable[Any]:
        return pairs if self._report is None else self._counted(pairs, self._report)

    def _counted(self, pairs: Iterable[Any], report: Progress) -> Iterator[Any]:
        for pair in pairs:
            self._done = min(self._done + pair[1].nbytes, self._total)
            yield pair
            del pair
            report(self._done, self._total)
        report(self._total, self._total)
