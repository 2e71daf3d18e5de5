"""initreg.arrays.threads: work that threads do, and what it gives."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import CancelledError, Future, wait
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg.arrays.threads import Job, pool_for

MANY = 1 << 30  # bytes that are worth threads


def own_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("initreg")]


def fail() -> None:
    raise ZeroDivisionError("on purpose")


@pytest.mark.parametrize("nbytes", [0, 1, 1 << 20])
def test_a_few_bytes_are_read_without_threads(nbytes: int) -> None:
    """For a few bytes, everything runs in the caller's thread."""
    with pool_for(nbytes) as pool:
        future = pool.submit(lambda *given: (threading.current_thread(), given), 1, 2)
        assert future.done()
        assert own_threads() == []
    assert future.result() == (threading.main_thread(), (1, 2))


@pytest.mark.parametrize("nbytes", [(1 << 20) + 1, MANY])
def test_many_bytes_are_read_by_threads_that_end_with_the_block(nbytes: int) -> None:
    """Threads have the name of the project, and none is left after the block."""
    with pool_for(nbytes) as pool:
        future = pool.submit(lambda *given: (threading.current_thread().name, given), 1, 2)
        name, given = future.result()
        assert name.startswith("initreg")
        assert given == (1, 2)
        assert own_threads() != []
    assert own_threads() == []


def test_two_things_are_done_at_once() -> None:
    """There are two threads even on one core."""
    meeting = threading.Barrier(2, timeout=30)
    with pool_for(MANY) as pool:
        futures = [pool.submit(meeting.wait) for _ in range(2)]
        assert sorted(future.result() for future in futures) == [0, 1]


def test_never_more_than_a_few_threads() -> None:
    """There are at most as many threads as cores, and at most four."""
    names = set()
    with pool_for(MANY) as pool:
        for future in [pool.submit(threading.current_thread) for _ in range(200)]:
            names.add(future.result().name)
        assert 1 <= len(own_threads()) <= 4
    assert len(names) <= 4


@pytest.mark.parametrize("nbytes", [0, MANY])
def test_what_goes_wrong_is_raised_by_the_result(nbytes: int) -> None:
    """An error is raised by result(), not by submit(), and the pool goes on."""
    with pool_for(nbytes) as pool:
        futures = [pool.submit(fail), pool.submit(int, "7")]
        assert futures[1].result() == 7
        assert isinstance(futures[0].exception(), ZeroDivisionError)
        with pytest.raises(ZeroDivisionError, match="on purpose"):
            futures[0].result()
    assert own_threads() == []


@pytest.mark.parametrize("nbytes", [0, MANY])
def test_an_error_in_the_block_ends_the_threads(nbytes: int) -> None:
    """An error in the block is raised after the running work ended and the rest was cancelled."""
    futures: list[Future[Any]] = []
    begun = threading.Semaphore(0)
    go_on = threading.Event()

    def work() -> str:
        begun.release()
        go_on.wait(30)
        return "done"

    if not nbytes:
        go_on.set()
    with pytest.raises(ZeroDivisionError), pool_for(nbytes) as pool:  # noqa: PT012 - the block
        futures += [pool.submit(work) for _ in range(20)]
        assert begun.acquire(timeout=30)
        futures[-1].add_done_callback(lambda _: go_on.set())  # which never begins: it is given up
        fail()
    assert own_threads() == []
    assert all(future.done() for future in futures)
    kept = [future for future in futures if not future.cancelled()]
    assert {future.result() for future in kept} == {"done"}
    if nbytes:
        assert 1 <= len(kept) <= 4  # what each thread had in hand
    else:
        assert len(kept) == 20


@pytest.mark.parametrize("nbytes", [0, MANY])
def test_pools_within_pools(nbytes: int) -> None:
    """A pool that is used inside of another one ends by itself."""

    def inner(count: int) -> int:
        with pool_for(nbytes) as pool:
            return sum(future.result() for future in [pool.submit(int, 1)] * count)

    with pool_for(nbytes) as pool:
        assert [pool.submit(inner, n).result() for n in (1, 5)] == [1, 5]
    assert own_threads() == []


# --- jobs ---------------------------------------------------------------------------------------


def test_a_job_of_nothing_to_wait_for_is_done() -> None:
    """A job without futures is done, and makes its arrays when it is finished."""
    made = []

    def finish() -> list[np.ndarray[Any, Any]]:
        made.append(1)
        return [np.arange(3)]

    job = Job(finish)
    assert (job.is_done, job.may_overtake, made) == (True, False, [])
    assert job.finish()[0].tolist() == [0, 1, 2]
    assert made == [1]


def test_a_job_is_done_when_all_of_its_futures_are() -> None:
    """A job is done when all of its futures are."""
    futures: list[Future[Any]] = [Future(), Future()]
    job = Job(lambda: [futures[0].result(), futures[1].result()], futures)
    assert not job.is_done
    futures[1].set_result(np.ones(1))
    assert not job.is_done
    futures[0].set_result(np.zeros(1))
    assert job.is_done
    assert [array[0] for array in job.finish()] == [0, 1]


def test_a_job_of_several_futures_may_not_overtake() -> None:
    """A job of several futures may not overtake, as its checksum may be wrong or a future
    failed."""
    futures: list[Future[Any]] = [Future(), Future()]
    job = Job(lambda: [future.result() for future in futures], futures)
    futures[0].set_result(np.zeros(1))
    futures[1].set_exception(ZeroDivisionError("on purpose"))
    assert (job.is_done, job.may_overtake) == (True, False)
    with pytest.raises(ZeroDivisionError):
        job.finish()
    futures[1] = Future()
    futures[1].set_result(np.zeros(1))
    assert (job.is_done, job.may_overtake) == (True, False)


def test_a_job_that_failed_before_it_began() -> None:
    """A failed job is done, and finishing it raises."""
    job = Job.failed(ZeroDivisionError("on purpose"))
    assert (job.is_done, job.may_overtake) == (True, False)
    with pytest.raises(ZeroDivisionError):
        job.finish()


@pytest.mark.parametrize("nbytes", [0, MANY])
def test_a_job_of_one_future_gives_what_it_gives(nbytes: int) -> None:
    """A job of one future returns its arrays, or raises its error."""
    with pool_for(nbytes) as pool:
        good = Job.of(pool.submit(lambda: [np.full(2, 5)]))
        bad = Job.of(pool.submit(fail))
        wait([*good.futures, *bad.futures], timeout=30)
        assert (good.is_done, good.may_overtake) == (True, True)
        assert (bad.is_done, bad.may_overtake) == (True, False)
        assert good.finish()[0].tolist() == [5, 5]
        with pytest.raises(ZeroDivisionError):
            bad.finish()


def test_a_job_that_was_given_up_raises_and_does_not_wait() -> None:
    """Finishing a job whose pool has ended raises at once."""
    go_on = threading.Event()
    with pool_for(MANY) as pool:
        held = [pool.submit(go_on.wait, 30) for _ in range(4)]
        job = Job.of(pool.submit(lambda: [np.zeros(1)]))
        assert not job.is_done
        job.futures[0].add_done_callback(lambda _: go_on.set())
    assert all(future.done() for future in held)
    assert job.is_done
    with pytest.raises(CancelledError):
        job.finish()


_FEW_THREADS = """
import resource, sys, threading
import numpy as np
import initreg
initreg.load(sys.argv[1])  # what is imported later would need memory, too
[size] = [int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize")]
threading.stack_size(1 << 30)
room = (int(sys.argv[2]) << 30) + (400 << 20)
resource.setrlimit(resource.RLIMIT_AS, (size * 1024 + room, resource.RLIM_INFINITY))
started = []
for _ in range(8):
    try:
        started.append(threading.Thread(target=threading.Event().wait, args=(1,)))
        started[-1].start()
    except RuntimeError:
        started.pop()
for each in started:
    each.join()
assert len(started) == int(sys.argv[2]), started
found = initreg.load(sys.argv[1])
print(*(float(found[name].sum()) for name in sorted(found)))
assert initreg.verify(sys.argv[1]).ok
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the size is read as on Linux")
@pytest.mark.parametrize("threads", [0, 1])
@pytest.mark.parametrize("name", ["m.npz", "m.h5", "m.safetensors", "m.ckpt"])
def test_the_system_gives_no_more_threads(tmp_path: Path, name: str, threads: int) -> None:
    """All arrays are read with the threads that there are, or without any."""
    arrays = {f"w{i}": np.full((1000, 500), i + 1.0) for i in range(5)}
    compress = name.endswith((".npz", ".h5"))
    path = initreg.save(tmp_path / name, arrays, compress=compress)
    command = [sys.executable, "-c", _FEW_THREADS, str(path), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(500_000.0 * (i + 1)) for i in range(5)]
