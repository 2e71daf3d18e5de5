"""A store over fsspec: versions are compared after each read, by as few looks as that needs."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from initreg.storage.fsspec_store import _Looks
from initreg.storage.stores import Found, StoreStamp


def test_a_look_is_shared_by_those_who_wait() -> None:
    """A look that began before a read ended says nothing about it. A later one is for all."""
    looks = _Looks()
    goes_on = threading.Event()
    begun: list[int] = []

    def find(_: str) -> Found:
        begun.append(len(begun))
        if len(begun) == 1:
            assert goes_on.wait(10)
        return Found(StoreStamp(len(begun), ""))

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(looks.after_now, "m", find)
        while not begun:
            time.sleep(0.001)
        others = [pool.submit(looks.after_now, "m", find) for _ in range(7)]
        while looks._count < 9:  # eight callers, and one look
            time.sleep(0.001)
        goes_on.set()
        sizes = [each.result() for each in others]
    assert len(begun) == 2
    assert first.result() == Found(StoreStamp(1, ""))
    assert sizes == [Found(StoreStamp(2, ""))] * 7


def test_each_look_is_new_for_one_caller() -> None:
    """One read after the other gets a look each, and a key is not another key."""
    looks = _Looks()
    asked: list[str] = []

    def find(key: str) -> None:
        asked.append(key)

    for key in ("a", "b", "a"):
        looks.after_now(key, find)
    assert asked == ["a", "b", "a"]
