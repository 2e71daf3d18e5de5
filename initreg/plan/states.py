"""The state of optimizers: what a file has of it, and whether it is what a target's optimizer is.

Files keep such state as a list, in which only the position says what an array is. Another
optimizer may have a list of the same length and shapes, in which it means something else. So what
is recorded of the two optimizers must agree: their classes, what their variables are called, and
for which weights they are. The state of an optimizer is restored as a whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from initreg.names import normalise
from initreg.option_spelling import option
from initreg.plan.naming import Naming
from initreg.plan.optimizer_names import described, ends, misnamed, plain, recorded_names, scopes_of
from initreg.plan.rows import By, StateNote
from initreg.specs import ArraySpec, OptimizerSpec, StateSpec, VariableSpec
from initreg.text.wording import plural

Fits = Callable[[ArraySpec, VariableSpec], bool]


@dataclass(slots=True)
class States:
    """How the state of optimizers was paired.

    Args:
        pairs: the index of the array for the index of each variable that has one.
        notes: what there is to say, one for each optimizer of the source or of the target.
        copies: arrays that are saved once more elsewhere, from where they are restored.
    """

    pairs: dict[int, int] = field(default_factory=dict)
    notes: list[StateNote] = field(default_factory=list)
    copies: set[int] = field(default_factory=set)


def pair_states(
    arrays: Sequence[ArraySpec],
    variables: Sequence[VariableSpec],
    naming: Naming,
    fits: Fits,
    by: By | None,
    source: int = 0,
) -> States:
    """Pair the state of the optimizers of a source with that of the optimizers of a target.

    Args:
        arrays: the arrays of the source.
        variables: the variables of the target.
        naming: how all others of them were paired.
        fits: whether an array fits a variable.
        by: the way that the user asked for, if any.
        source: the number of the source in its chain.
    """
    ours, theirs = _groups(variables), _groups(arrays)
    states = States()
    taken: set[OptimizerSpec] = set()
    alone: list[OptimizerSpec] = []
    for optimizer, members in ours.items():
        other = _counterpart(optimizer, ours, theirs, naming.found.above)
        if other is None:
            alone.append(optimizer)
            continue
        taken.add(other)
        pairing = _Pairing(arrays, variables, naming, fits, by)
        try:
            pairs, copies = pairing.of(optimizer, members, other, theirs[other])
        except _Refused as refused:
            names = tuple(normalise(variables[index].name) for index in members)
            text = _not_restored(optimizer) + refused.why
            states.notes.append(StateNote(source, text, names, is_quiet=refused.is_quiet))
            continue
        states.pairs |= pairs
        states.copies |= copies
        if pairing.doubt:
            names = tuple(normalise(variables[index].name) for index in pairs)
            checked = [i for i in pairs if _state(variables[i]).never_negative]
            has_slots = any("{" in _state(variables[i]).called for i in pairs)
            is_known = pairing.has_same_name and (bool(checked) or not has_slots)
            states.notes.append(
                StateNote(
                    source,
                    pairing.doubt,
                    names,
                    is_restored=True,
                    is_quiet=by is By.PLACE or is_known,
                    never_negative=tuple(normalise(variables[index].name) for index in checked),
                )
            )
    is_quiet = not any(optimizer.is_built for optimizer in alone)
    for optimizer in theirs:
        if optimizer not in taken:
            text = f"the state of {described(optimizer)} is not used: the target has no optimizer "
            text += "that is built" if is_quiet else f"at {optimizer.places[0]!r}"
            states.notes.append(StateNote(source, text, is_quiet=is_quiet))
    return states


def only_whole(
    variables: Sequence[VariableSpec],
    pairs: Mapping[int, int],
    others: Collection[int],
    source: int,
) -> tuple[dict[int, int], list[StateNote]]:
    """The pairs of a source that has names alone, without state that it has only a part of.

    Args:
        variables: the variables of the target.
        pairs: the pairs of the source.
        others: the indices of the variables that other sources of the chain supply.
        source: the number of the source in its chain.
    """
    kept, notes = dict(pairs), []
    for optimizer, members in _groups(variables).items():
        needed = {index for index in members if not _state(variables[index]).optional}
        found = [index for index in members if index in pairs]
        if found and not needed <= {*found, *others}:
            for index in found:
                del kept[index]
            text = _not_restored(optimizer)
            text += f"the source has {len(found):,} of its {plural(len(members), 'variable')}. "
            text += "Pass " + option("by", "name") + " to restore a part of it"
            names = tuple(normalise(variables[index].name) for index in members)
            notes.append(StateNote(source, text, names))
    return kept, notes


class _Refused(Exception):
    """The state is not restored."""

    def __init__(self, why: str, is_quiet: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.is_quiet = is_quiet


class _Pairing:
    """The pairs of one optimizer.

    ``doubt`` is why they may be wrong, "" if nothing says so. ``has_same_name`` is whether somebody
    gave the optimizer of the source and that of the target the same name.
    """

    def __init__(
        self,
        arrays: Sequence[ArraySpec],
        variables: Sequence[VariableSpec],
        naming: Naming,
        fits: Fits,
        by: By | None,
    ) -> None:
        self._arrays = arrays
        self._variables = variables
        self._naming = naming
        self._fits = fits
        self._by = by
        self.doubt = ""
        self.has_same_name = False
        self._index = {
            normalise(variable.name): index
            for index, variable in enumerate(variables)
            if variable.state is None
        }

    def of(
        self,
        ours: OptimizerSpec,
        members: Sequence[int],
        theirs: OptimizerSpec,
        saved: Sequence[int],
    ) -> tuple[dict[int, int], set[int]]:
        """The pairs, and the arrays that are copies. Raises _Refused."""
        if not ours.is_built:
            raise _Refused(
                "it is not built, so it has no state yet. Train for a step, or call "
                "optimizer.build(model.trainable_variables), before init()",
                is_quiet=True,
            )
        self._refuse_other_weights(members)
        is_recorded = self._refuse_other_class(ours, theirs)
        pairs, copies = self._pairs(members, saved)
        is_named = self._refuse_other_names(ours, pairs)
        self._refuse_incomplete(members, saved, pairs, copies)
        for variable, array in pairs.items():
            if not self._fits(self._arrays[array], self._variables[variable]):
                raise _Refused(
                    f"{self._arrays[array].name!r} of shape {self._arrays[array].shape} does not "
                    f"fit {self._variables[variable].name!r} of shape "
                    f"{self._variables[variable].shape}"
                )
        if not is_recorded and not is_named:
            self.doubt = self._doubt(ours, theirs)
        return pairs, copies

    def _doubt(self, ours: OptimizerSpec, theirs: OptimizerSpec) -> str:
        if self._by is By.PLACE:
            return f"the state of an optimizer is restored to {described(ours)} by place"
        name = theirs.names[-1] if theirs.names else ""
        self.has_same_name = bool(name) and name in ours.names
        called, why = (f" called {name!r}", "name, ") if self.has_same_name else ("", "")
        text = (
            f"the state of an optimizer{called} is restored to {described(ours)}, because {why}"
            "number and shapes agree. The source does not record its class, and an optimizer of "
            "another class may have such a state. If it is of the same class, pass "
            + option("by", "place")
        )
        below = f"{theirs.places[0]}/" if theirs.places and theirs.places[0] else ""
        weights = (each for each in self._arrays if each.state is None)
        if below and not any(n.startswith(below) for a in weights for n in (a.name, *a.aliases)):
            text += "; to leave the state out, pass " + option("drop", f"{below}*")
        return text

    # --- what speaks against it -------------------------------------------------------------

    def _refuse_other_weights(self, members: Sequence[int]) -> None:
        weights = self._weights(members)
        left = [index for index in weights if not self._is_restored(index)]
        if left:
            are = "is" if len(left) == 1 else "are"
            raise _Refused(
                f"{len(left):,} of the {plural(len(weights), 'weight')} that it is for {are} not "
                "restored",
                is_quiet=True,
            )

    def _is_restored(self, index: int) -> bool:
        array = self._naming.pairs.get(index)
        return array is not None and self._fits(self._arrays[array], self._variables[index])

    def _weights(self, members: Sequence[int]) -> list[int]:
        """The variables that the state is for. Those of the whole target if none is known."""
        names = {normalise(_state(self._variables[index]).weight) for index in members} - {""}
        known = [self._index[name] for name in names if name in self._index]
        every = [i for i in self._index.values() if not self._variables[i].not_needed]
        return sorted(known) or every

    def _refuse_other_class(self, ours: OptimizerSpec, theirs: OptimizerSpec) -> bool:
        """Refuse what is recorded to be of another optimizer. Returns whether it is of this one."""
        if len(ours.classes) != len(theirs.classes):
            raise _Refused(f"the source has that of {described(theirs)}")
        both = [each for each in zip(ours.classes, theirs.classes, strict=True) if all(each)]
        if any(plain(one) != plain(other) for one, other in both):
            raise _Refused(f"the source has that of {described(theirs)}")
        if both and theirs.classes[-1]:
            return True
        if not theirs.names or not theirs.names[-1]:
            return False
        known = [self._is_automatic(ours, name) for name in theirs.names if name]
        return all(known)

    def _is_automatic(self, ours: OptimizerSpec, name: str) -> bool:
        """Whether a recorded name is one that such an optimizer has if nobody names it.

        False if somebody gave both optimizers this name, which does not tell their class. Raises
        _Refused if it is any other name.
        """
        if any(plain(name) in map(plain, automatic) for automatic in ours.automatic):
            return True
        if name not in ours.names and self._by is not By.PLACE:
            raise _Refused(misnamed(name))
        return False

    def _refuse_other_names(self, ours: OptimizerSpec, pairs: Mapping[int, int]) -> bool:
        """Refuse arrays whose recorded names are not those of their variables.

        Returns whether the names say that it is the same optimizer.
        """
        is_named = False
        called = {v: self._called(_state(self._variables[v])) for v in pairs}
        owners = {name: v for v, names in called.items() for name in names}
        for variable, array in pairs.items():
            state = _state(self._variables[variable])
            recorded = recorded_names(self._arrays[array])
            if not recorded or not state.called:
                continue
            wanted = called[variable]
            scopes = [scope for each in wanted for scope in scopes_of(recorded, each)]
            if not scopes and not any(end in owners for name in recorded for end in ends(name)):
                # Keras may call a weight otherwise than its optimizer does.
                scopes = scopes_of(recorded, state.called.format(name="*", flat="*"))
            if not scopes:
                raise _Refused(
                    f"the source has {recorded[0]!r} in the place of {wanted[0]!r}, so it is of "
                    "another optimizer or for other weights"
                )
            named = bool(scopes[0]) and self._is_automatic(ours, scopes[0])
            is_named |= "{" in state.called or named
        return is_named

    def _refuse_incomplete(
        self,
        members: Sequence[int],
        saved: Sequence[int],
        pairs: Mapping[int, int],
        copies: set[int],
    ) -> None:
        left = [
            index
            for index in members
            if index not in pairs and not _state(self._variables[index]).optional
        ]
        used = set(pairs.values()) | copies
        unused = [
            index
            for index in saved
            if index not in used and not _state(self._arrays[index]).optional
        ]
        if left or unused:
            count = len(saved) - len(copies)
            raise _Refused(
                f"the source has {plural(count, 'array')} of state, and {len(pairs):,} of the "
                f"{plural(len(members), 'variable')} are among them. It has other options, is for "
                "other weights, or is of another library"
            )

    # --- the pairs --------------------------------------------------------------------------

    def _pairs(
        self, members: Sequence[int], saved: Sequence[int]
    ) -> tuple[dict[int, int], set[int]]:
        """The pairs, and the arrays that are copies. Raises _Refused."""
        by_place: dict[str, int] = {}
        by_name: dict[str, int | None] = {}  # None for the name of several
        for index in saved:
            by_place |= dict.fromkeys(_state(self._arrays[index]).at, index)
            for name in recorded_names(self._arrays[index]):
                for end in ends(name):
                    by_name[end] = None if by_name.get(end, index) != index else index
        is_in_order = self._is_in_order(members)
        pairs: dict[int, int] = {}
        copies: set[int] = set()
        for member in members:
            state = _state(self._variables[member])
            of_weight = [at for at in state.at if "{weight}" in at]
            listed = [by_place[at] for at in state.at if at in by_place]
            origin = self._origin(state)
            exact = [by_place.get(at.replace("{weight}", origin)) for at in of_weight if origin]
            exact += listed if is_in_order or not _needs_order(state) else []
            known = [index for index in exact if index is not None]
            named = [i for i in map(by_name.get, self._called(state)) if i is not None]
            if known:
                pairs[member] = known[0]
                copies.update(known[1:])
            elif named:
                pairs[member] = named[0]
            elif listed:
                raise _Refused(
                    "it is a list in the order of the model that was saved, and the weights were "
                    "not matched by their places in that"
                )
        return pairs, copies - set(pairs.values())

    def _is_in_order(self, members: Sequence[int]) -> bool:
        """Whether the weights were matched by their places, or as those say."""
        found = self._naming.found.pairs
        weights = self._weights(members)
        return all(found.get(index, -1) == self._naming.pairs.get(index) for index in weights)

    def _origin(self, state: StateSpec) -> str:
        array = self._array_of(state)
        return "" if array is None else array.origin

    def _array_of(self, state: StateSpec) -> ArraySpec | None:
        """The array that the weight is restored from."""
        weight = self._index.get(normalise(state.weight)) if state.weight else None
        if weight is None or weight not in self._naming.pairs:
            return None
        return self._arrays[self._naming.pairs[weight]]

    def _called(self, state: StateSpec) -> list[str]:
        """What the source may call the variable, by what it calls the weight.

        If it is not known what the source calls that, ``*`` stands for it.
        """
        if "{" not in state.called:
            return [state.called, *state.also_called] if state.called else []
        array = self._array_of(state)
        names = ["*"] if array is None else recorded_names(array)
        return [
            called.format(name=name, flat=name.replace("/", "_"))
            for called in (state.called, *state.also_called)
            for name in names
        ]


def _state(entry: ArraySpec | VariableSpec) -> StateSpec:
    assert entry.state is not None
    return entry.state


def _needs_order(state: StateSpec) -> bool:
    """Whether a number in a list means the same only for weights in the same order."""
    return "{" in state.called or not state.called


def _groups(entries: Sequence[ArraySpec | VariableSpec]) -> dict[OptimizerSpec, list[int]]:
    """The indices of all state, by the optimizer that it belongs to."""
    found: dict[OptimizerSpec, list[int]] = {}
    for index, entry in enumerate(entries):
        if entry.state is not None:
            found.setdefault(entry.state.optimizer, []).append(index)
    return found


def _counterpart(
    ours: OptimizerSpec,
    all_ours: Mapping[OptimizerSpec, Sequence[int]],
    theirs: Mapping[OptimizerSpec, Sequence[int]],
    above: str,
) -> OptimizerSpec | None:
    """The optimizer of the source that is in the same place, or the only one if both have one."""
    for prefix in dict.fromkeys((above, "")):
        found = [
            other
            for other in theirs
            if any(prefix + place in other.places for place in ours.places)
        ]
        if len(found) == 1:
            return found[0]
    return next(iter(theirs)) if len(theirs) == len(all_ours) == 1 else None


def _not_restored(optimizer: OptimizerSpec) -> str:
    return f"the state of {described(optimizer)} is not restored: "
