"""The state of optimizers in a plan: what must agree, and what is said where it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from initreg.plan.expectations import SourceSpecs
from initreg.plan.matching import match
from initreg.plan.optimizer_names import described, ends, plain, scopes_of
from initreg.plan.plan import Plan
from initreg.plan.rows import By, Kind
from initreg.specs import ArraySpec, OptimizerSpec, StateSpec, VariableSpec

WEIGHTS = ("a/kernel", "b/kernel")
SHAPE = (4, 4)


def weights(order: tuple[str, ...] = WEIGHTS) -> list[ArraySpec]:
    return [
        ArraySpec(f"layers/{n}", SHAPE, "float32", (name,), places=(f"layers/{n}",))
        for n, name in enumerate(order)
    ]


def model(order: tuple[str, ...] = WEIGHTS) -> list[VariableSpec]:
    return [
        VariableSpec(name, SHAPE, "float32", (f"layers/{n}",), (f"layers/{n}",))
        for n, name in enumerate(order)
    ]


def saved(
    optimizer: OptimizerSpec,
    slot: str = "",
    order: tuple[str, ...] = WEIGHTS,
    shape: tuple[int, ...] = SHAPE,
) -> list[ArraySpec]:
    """A counter and one slot for each weight, in a list, with names if ``slot`` is given."""

    def array(number: int, name: str, shape: tuple[int, ...], dtype: str) -> ArraySpec:
        place = f"optimizer/vars/{number}"
        names = (f"saved_name/{name}",) if slot else ()
        spec = StateSpec(optimizer, (f"{number} of {len(order) + 1}",))
        return ArraySpec(place, shape, dtype, names, places=(place,), state=spec)

    numbered = enumerate(order, 1)
    return [
        array(0, "iteration", (), "int64"),
        *(array(n, f"{name.replace('/', '_')}_{slot}", shape, "float32") for n, name in numbered),
    ]


def state(optimizer: OptimizerSpec, order: tuple[str, ...] = WEIGHTS) -> list[VariableSpec]:
    counter = StateSpec(optimizer, (f"0 of {len(order) + 1}",), called="iteration")
    found = [VariableSpec("adam/iteration", (), "int64", state=counter)]
    for number, name in enumerate(order, 1):
        at = (f"{number} of {len(order) + 1}",)
        slot = StateSpec(optimizer, at, False, name, "{flat}_velocity", never_negative=True)
        own = f"adam/{name.replace('/', '_')}_velocity"
        found.append(VariableSpec(own, SHAPE, "float32", state=slot))
    return found


def adam(**options: object) -> OptimizerSpec:
    given = {"names": ("adam_1",), "automatic": (("Adam", "adam"),), **options}
    return OptimizerSpec(("optimizer",), ("Adam",), **given)  # type: ignore[arg-type]


def of(**options: object) -> OptimizerSpec:
    """What a file records of its optimizer."""
    return OptimizerSpec(("optimizer",), **options)  # type: ignore[arg-type]


def plan(
    arrays: list[ArraySpec], variables: list[VariableSpec], by: By | None = None, **more: object
) -> Plan:
    return match([SourceSpecs("a.h5", arrays, by=by)], variables, "model", **more)  # type: ignore[arg-type]


def restored(found: Plan) -> dict[str, str | None]:
    return {row.name: row.array for row in found.restored if row.name.startswith("adam/")}


WHOLE = {
    "adam/iteration": "optimizer/vars/0",
    "adam/a_kernel_velocity": "optimizer/vars/1",
    "adam/b_kernel_velocity": "optimizer/vars/2",
}


@pytest.mark.parametrize(
    "recorded",
    [
        of(classes=("Adam",)),
        of(classes=("Adam",), names=("somebody's",)),
        of(names=("adam",)),
        of(names=("adam_17",)),
        of(names=("adam_17_1",)),
        of(names=("Adam",)),
    ],
)
def test_a_class_or_an_automatic_name_that_agrees(recorded):
    """The state is restored, and there is nothing to say."""
    found = plan([*weights(), *saved(recorded)], [*model(), *state(adam())])
    assert restored(found) == WHOLE
    assert (found.states, found.of("only in source", "only in target")) == ((), ())


@pytest.mark.parametrize(
    ("recorded", "why"),
    [
        (of(classes=("SGD",)), "the source has that of SGD"),
        (of(classes=("LossScaleOptimizer", "Adam")), "that of LossScaleOptimizer of Adam"),
        (of(classes=("", "")), "that of an optimizer with another one in it"),
        (of(names=("mine",)), "an optimizer called 'mine'. If it is of the same class, pass by="),
        (of(names=("sgd_3",)), "the source has that of an optimizer called 'sgd_3'"),
        (of(names=("adam_w",)), "an optimizer called 'adam_w'"),
    ],
)
def test_another_class_or_name(recorded, why):
    """Nothing of the state is restored, and the plan says why."""
    found = plan([*weights(), *saved(recorded)], [*model(), *state(adam())])
    assert restored(found) == {}
    assert [row.name for row in found.restored] == list(WEIGHTS)
    (note,) = found.states
    assert str(note).startswith("the state of Adam is not restored: ")
    assert why in note.text
    assert ("by=" in note.text) is ("mine" in note.text)  # no way makes SGD of an Adam
    assert (note.is_restored, note.is_quiet) == (False, False)
    assert found.counts == {Kind.MATCHED: 2, Kind.STATE: 6}
    assert f"  {note.text}\n" in str(found)
    assert "6 of the state of an optimizer, not restored" in str(found)
    assert found.to_dict()["states"][0]["text"] == note.text


def test_nothing_recorded():
    """Number and shapes decide, with a note that says how to be sure. by="place" says it."""
    arrays = [*weights(), *saved(of())]
    variables = [*model(), *state(adam())]
    found = plan(arrays, variables)
    assert restored(found) == WHOLE
    (note,) = found.states
    assert note.is_restored
    assert "by='place'; to leave the state out, pass drop='optimizer/*'" in note.text
    assert set(note.never_negative) == set(WHOLE) - {"adam/iteration"}
    found = plan(arrays, variables, By.PLACE)
    assert restored(found) == WHOLE
    assert [(str(note), note.is_quiet) for note in found.states] == [
        ("the state of an optimizer is restored to Adam by place", True)
    ]
    named = [*weights(), *saved(of(names=("gen",)))]
    assert "called 'gen'" in plan(named, variables).states[0].text
    assert restored(plan(named, variables, By.PLACE)) == WHOLE
    both = [*model(), *state(adam(names=("gen",)))]
    (note,) = plan(named, both).states
    assert (note.is_restored, note.is_quiet) == (True, True)
    assert "called 'gen' is restored to Adam, because name, number and shapes agree" in note.text
    assert set(note.never_negative) == set(WHOLE) - {"adam/iteration"}  # is checked all the same
    unchecked = [
        replace(v, state=replace(v.state, never_negative=False)) if v.state else v for v in both
    ]
    (note,) = plan(named, unchecked).states  # a name is no class
    assert (note.is_restored, note.is_quiet) == (True, False)
    assert restored(plan([*weights(), *saved(of(classes=("SGD",)))], variables, By.PLACE)) == {}


def test_values_that_cannot_be_right():
    """A plan without the state, once its values are known, keeps all other rows."""
    found = plan([*weights(), *saved(of())], [*model(), *state(adam())])
    less = found.without_state(found.states[0], "'x' has negative values")
    assert [row.name for row in less.restored] == list(WEIGHTS)
    assert "not restored: 'x' has negative values" in less.states[0].text
    assert restored(found) == WHOLE


def test_names_of_variables_must_agree():
    """A list of momenta is not one of velocities, whatever else agrees."""
    variables = [*model(), *state(adam(automatic=(("saved_name",),)))]
    assert restored(plan([*weights(), *saved(of(), "velocity")], variables)) == WHOLE
    found = plan([*weights(), *saved(of(), "momentum")], variables)
    assert restored(found) == {}
    assert "'saved_name/a_kernel_momentum' in the place of 'a_kernel_velocity'" in str(found)


def test_slots_follow_their_weights():
    """Where layers are matched by name in another order, names say which slot is for which; a list
    without names is left out."""
    other = WEIGHTS[::-1]
    variables = [*model(other), *state(adam(automatic=(("saved_name",),)), other)]
    found = plan([*weights(), *saved(of(), "velocity")], variables, By.NAME)
    assert restored(found) == WHOLE
    found = plan([*weights(), *saved(of(classes=("Adam",)))], variables, By.NAME)
    assert restored(found) == {}
    assert "in the order of the model that was saved" in found.states[0].text


def test_slots_that_the_source_records_with_their_weights():
    """As TensorFlow records those of older optimizers: by the key of the weight."""
    ours, theirs = adam(), of(classes=("Adam",))
    keys = [f"layers/{n}" for n in range(2)]
    arrays = [
        ArraySpec(f"{key}/slot", SHAPE, "float32", state=StateSpec(theirs, (f"m of {key}",)))
        for key in reversed(keys)
    ]
    other = WEIGHTS[::-1]
    variables = [
        VariableSpec(
            f"adam/{name}", SHAPE, "float32", state=StateSpec(ours, ("m of {weight}",), weight=name)
        )
        for name in other
    ]
    found = plan([*weights(), *arrays], [*model(other), *variables], By.NAME)
    assert restored(found) == {
        "adam/b/kernel": "layers/1/slot",
        "adam/a/kernel": "layers/0/slot",
    }


@pytest.mark.parametrize(
    "arrays",
    [saved(of(), order=(*WEIGHTS, "c/kernel")), saved(of())[:-1], saved(of(), shape=(3, 3))],
)
def test_all_or_nothing(arrays):
    """Another number of variables, a part of them, or another shape: none is restored."""
    found = plan([*weights(), *arrays], [*model(), *state(adam())])
    assert restored(found) == {}
    assert not found.states[0].is_quiet
    assert found.ok


def test_what_is_optional():
    """The rest of the state is complete without it, on either side."""
    arrays, variables = saved(of(classes=("Adam",))), state(adam())
    more = StateSpec(arrays[0].state.optimizer, ("_learning_rate",), optional=True)
    rate = StateSpec(variables[0].state.optimizer, ("_rate",), optional=True)
    arrays.append(ArraySpec("optimizer/_learning_rate", (), "float32", state=more))
    variables.append(VariableSpec("adam/rate", (), "float32", state=rate))
    found = plan([*weights(), *arrays], [*model(), *variables])
    assert (restored(found), found.states) == (WHOLE, ())
    assert {row.name for row in found.of("optimizer state")} == {
        "optimizer/_learning_rate",
        "adam/rate",
    }


def test_a_second_copy():
    """State that was saved twice is restored once, and the copy is counted as such."""
    theirs = of(classes=("Adam",))
    arrays = saved(theirs)
    copies = [
        ArraySpec(f"{a.name}/copy", a.shape, a.dtype, state=StateSpec(theirs, (f"in/{i} of 3",)))
        for i, a in enumerate(arrays)
    ]
    variables = [
        VariableSpec(
            v.name,
            v.shape,
            v.dtype,
            state=StateSpec(
                v.state.optimizer, (f"in/{i} of 3", f"{i} of 3"), weight=v.state.weight
            ),
        )
        for i, v in enumerate(state(adam()))
    ]
    found = plan([*weights(), *arrays, *copies], [*model(), *variables])
    assert restored(found) == {name: f"{array}/copy" for name, array in WHOLE.items()}
    assert "3 of the state of an optimizer, saved once more" in str(found)
    assert found.states == ()


def test_a_part_of_the_model():
    """State for weights that are not restored is left out, in a quiet note."""
    arrays = [*weights()[:1], *saved(of(classes=("SGD",)))]
    found = plan(arrays, [*model(), *state(adam())])
    assert restored(found) == {}
    (note,) = found.states
    assert note.is_quiet
    assert "1 of the 2 weights that it is for is not restored" in note.text


def test_without_an_optimizer_on_one_side():
    """Quiet, on either side. What the user expects keeps its kind."""
    found = plan([*weights(), *saved(of(names=("adam",)))], model())
    assert found.states[0].is_quiet
    assert "the state of an optimizer called 'adam' is not used" in found.states[0].text
    assert found.unused("warn") == ()
    found = plan(weights(), [*model(), *state(adam())])
    assert (found.states, found.missing("warn")) == ((), ())
    assert len(found.of("optimizer state")) == 3
    unbuilt = [*model(), *state(adam(is_built=False))]
    found = plan([*weights(), *saved(of(classes=("Adam",)))], unbuilt)
    assert found.states[0].is_quiet
    assert "it is not built" in found.states[0].text


def test_several_optimizers():
    """Each goes to the one in its place. If none is there, it is told."""
    one, two = of(classes=("Adam",)), OptimizerSpec(("critic/optimizer",), ("Adam",))
    second = [
        ArraySpec(a.name.replace("opt", "critic/opt"), a.shape, a.dtype, state=a.state)
        for a in saved(two)
    ]
    found = plan([*weights(), *saved(one), *second], [*model(), *state(adam())])
    assert restored(found) == WHOLE
    assert "not used: the target has no optimizer" in found.states[0].text
    lost = OptimizerSpec(("elsewhere",), ("Adam",))
    other = [VariableSpec(v.name, v.shape, v.dtype, state=v.state) for v in state(lost)]
    found = plan([*weights(), *saved(one), *second], [*model(), *other])
    assert [note.is_quiet for note in found.states] == [False, False]


def test_a_target_of_plain_names_takes_state_by_its_names():
    """A dict that has the names of the arrays is filled by them."""
    variables = [VariableSpec(a.name, a.shape, a.dtype) for a in (*weights(), *saved(of()))]
    found = plan([*weights(), *saved(of())], variables)
    assert len(found.restored) == 5
    assert found.states == ()


def test_how_names_are_compared():
    """Automatic names count, and scopes come before the names that Keras makes."""
    assert plain("adam_w_3") == plain("AdamW") == "adamw"
    assert plain("rm_sprop") == plain("RMSprop")
    assert list(ends("a/b/c")) == ["a/b/c", "b/c", "c"]
    assert scopes_of(["x/Adam/m/fc/kernel", "m/fc/kernel"], "m/fc/kernel") == ["Adam", ""]
    assert scopes_of(["sgd/net_fc_kernel_momentum"], "fc_kernel_momentum") == []
    assert scopes_of(["sgd/fc_kernel_momentum"], "*_momentum") == ["sgd"]
    assert scopes_of(["Adam/m/fc/kernel"], "m/*") == ["Adam"]
    assert scopes_of(["Adam/fc/kernel/m"], "*/m") == [""]
    assert scopes_of(["Adam/fc/kernel/v"], "*/m") == []
    assert described(of(classes=("LossScaleOptimizer", ""))) == "LossScaleOptimizer of an optimizer"
