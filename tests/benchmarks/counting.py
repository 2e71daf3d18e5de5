"""How many instructions of Python's virtual machine a call executes, which no load can change.

``valgrind`` and ``perf`` count those of the processor, and are not everywhere. Python itself can
say each instruction of bytecode that it executes: to ``sys.settrace``, and from 3.12 on to
``sys.monitoring``. Calls of functions would not do, because they are too few to see a loop, and
Python 3.12 no longer calls comprehensions. The bytecode of a version of Python differs from that of
the next one by a few percent. So a count is divided by that of a peer in plain Python, in the same
process.

What C code does is one instruction here. :mod:`comparing` counts those of the processor, too.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

Call = Callable[[], object]


def instructions(call: Call) -> int:
    """How many instructions of bytecode a call executes in this thread. It is run once before, so
    that imports are not counted."""
    call()
    gc.disable()  # or the finalizers of others would be counted
    try:
        return _monitored(call) if sys.version_info >= (3, 12) else _traced(call)
    finally:
        gc.enable()


def _monitored(call: Call) -> int:
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined]
    event, tool = monitoring.events.INSTRUCTION, monitoring.PROFILER_ID
    count, thread = 0, threading.get_ident()

    def executed(code: CodeType, offset: int) -> None:
        nonlocal count
        count += threading.get_ident() == thread

    monitoring.use_tool_id(tool, "counting")
    try:
        monitoring.register_callback(tool, event, executed)
        monitoring.set_events(tool, event)
        call()
    finally:
        monitoring.set_events(tool, 0)
        monitoring.register_callback(tool, event, None)
        monitoring.free_tool_id(tool)
    return count


def _traced(call: Call) -> int:
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        if event == "call":
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
        elif event == "opcode":
            count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def workloads(names: list[str], folder: Path) -> Iterator[tuple[str, Call]]:
    """What is done for each name: by what it is called, and a function that does it for all.

    Args:
        names: the names of the arrays, as in :func:`planning.names_of`.
        folder: an empty folder.
    """
    import numpy as np

    import initreg
    from initreg import SmartInit

    arrays = {name: np.zeros((1, 2), "f4") for name in names}
    target = {name: np.zeros((1, 2), "f4") for name in names}
    other = {f"model/{name}": array for name, array in target.items()}
    half = len(names) // 2
    partly = dict([*target.items()][:half])
    yield "plan a dict", lambda: SmartInit(arrays).plan(target)
    yield "plan a dict, half of the names", lambda: SmartInit(arrays).plan(partly)
    yield "plan a dict, no name, with hints", lambda: str(SmartInit(arrays).plan(other))
    yield "init a dict", lambda: SmartInit(arrays).init(target)
    for ending in (".safetensors", ".npz", ".ckpt", ".h5"):
        path = initreg.save(folder / f"m{ending}", arrays)
        yield f"open {ending}", lambda path=path: initreg.open(path).close()  # type: ignore[misc]
        yield f"init from {ending}", lambda path=path: SmartInit(path).init(target)  # type: ignore[misc]


def plain(names: list[str]) -> Call:
    """The peer: what a user would write by hand, as in :func:`planning.sets`."""
    mine = [(name, (1, 2), "float32") for name in names]

    def call() -> object:
        have, want = {}, {}
        for name, shape, dtype in mine:
            have[name] = shape, dtype
            want[name] = shape, dtype
        wrong = []
        for name in have:
            if name in want and have[name] != want[name]:
                wrong.append(name)  # noqa: PERF401  # comprehensions differ between versions
        return wrong

    return call


def counts(n: int) -> dict[str, float]:
    """The instructions of each workload for each of ``n`` names, as a multiple of the peer's."""
    names = [f"encoder/layer_{i // 8}/attention/{'qkvo'[i % 4]}/{i % 8}" for i in range(n)]
    peer = instructions(plain(names))
    with tempfile.TemporaryDirectory() as folder:
        return {what: instructions(call) / peer for what, call in workloads(names, Path(folder))}


if __name__ == "__main__":
    for what, count in counts(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000).items():
        print(f"{count:8.1f}  {what}")
