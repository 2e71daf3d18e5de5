"""Which checkpoints are kept: compared with TensorFlow's Saver, and after a restart."""

from __future__ import annotations

import json
import time

import pytest
import tensorflow as tf

from initreg.trainers.shared.keeping import Keeping

v1 = tf.compat.v1


@pytest.mark.parametrize("most", [1, 3, 0, None])
@pytest.mark.parametrize("hours", [None, 0.5, 2, 1e-9])
def test_the_rule_of_the_saver(
    most: int | None, hours: float | None, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of ten saves, 40 minutes apart, the same ones are kept as by a real Saver."""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    keeping = Keeping(most, hours)
    ours = []
    with tf.Graph().as_default(), v1.Session() as session:
        session.run(v1.get_variable("v", []).initializer)
        never = 10**9 if hours is None else hours
        saver = v1.train.Saver(max_to_keep=most, keep_checkpoint_every_n_hours=never)
        for step in range(10):
            now += 40 * 60
            saver.save(session, str(tmp_path / "m"), step, write_meta_graph=False)
            ours.append(f"m-{step}")
            for gone in keeping.add(f"m-{step}"):
                ours.remove(gone)
    assert sorted(p.stem for p in tmp_path.glob("*.index")) == sorted(ours)
    assert keeping.recent == [f"m-{step}" for step in range(10)][-(most or 10) :]


def test_it_survives_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The state goes through JSON. The hours count on, and do not start again with the restart."""
    now = 1000.0
    monkeypatch.setattr(time, "time", lambda: now)
    whole, first = Keeping(2, 1), Keeping(2, 1)
    found: list[list[str]] = []
    for each in (whole, first):
        now = 1000.0
        for step in range(3):
            now += 1500
            each.add(f"m-{step}")
    now = 9999.0
    second = Keeping(2, 1)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for each in (whole, second):
        now = 5500.0
        gone = []
        for step in range(3, 9):
            now += 1500
            gone += each.add(f"m-{step}")
        found.append(gone)
    assert found[0] == found[1]
    assert 0 < len(found[0]) < 6  # some were kept for good, some not


def test_the_same_name_again() -> None:
    """A name that is added again counts once, as the newest."""
    keeping = Keeping(2, None)
    assert [keeping.add(name) for name in ("a", "b", "a", "c")] == [[], [], [], ["b"]]


@pytest.mark.parametrize(("most", "hours"), [(-1, None), (1, 0), (1, -2.0), (1, float("nan"))])
def test_numbers_that_are_out_of_range(most: int, hours: float | None) -> None:
    with pytest.raises(ValueError, match=r"=-1 is negative|is not positive"):
        Keeping(most, hours)


@pytest.mark.parametrize("name", ["../model-1", "/tmp/model-1", "..", "", "a\0b", 5, None])
def test_nothing_is_kept_elsewhere(name: object) -> None:
    """A name that leads out of the folder is refused, whether it is added or is in a state, which
    anybody may have written. The list stays as it was. That file would be removed one day."""
    keeping = Keeping(1, None)
    keeping.add("model-1", 1.0)
    before = keeping.state_dict()
    with pytest.raises(ValueError, match="is not the name of a file in the same folder"):
        keeping.load_state_dict({"recent": [["model-2", 2.0], [name, 1.0]], "due": 5.0})
    with pytest.raises(ValueError, match="is not the name of a file in the same folder"):
        keeping.add(name, 2.0)  # type: ignore[arg-type]
    assert keeping.state_dict() == before
