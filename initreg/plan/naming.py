"""The way of naming: by which of their names the arrays of one source find their variables.

An array can be meant for a variable by its *name* (what somebody called it), by its *place* (where
it was in the structure that was saved), or by its position in an *order*. One way is taken for a
whole source:

1. Names that people gave outrank places. Places outrank names that a framework made up.
2. Where names that people gave say otherwise than places, it is an error that shows both.
3. Where places leave several possibilities, it is an error that shows them.

A side without any places, such as a dict, has only names. They may be meant as either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from initreg.errors import AmbiguousNames
from initreg.names import normalise
from initreg.plan import naming_errors as errors
from initreg.plan import orders
from initreg.plan.name_parts import ends, given_of, names_of, pair_by_names
from initreg.plan.numbering import find_moved, find_shift, with_dropped
from initreg.plan.other_weights import find_misfit, find_other_class, find_other_layer
from initreg.plan.places import Alignment, alignments
from initreg.plan.renamed import is_other_within, is_renamed
from initreg.plan.roots import called_alike, part_name
from initreg.plan.rows import ASKED, By, StateNote, Way
from initreg.records import fresh, record, replace
from initreg.specs import ORDER, ArraySpec, VariableSpec
from initreg.text.wording import plural

Fits = Callable[[ArraySpec, VariableSpec], bool]


@record()
class Naming:
    """How the arrays of one source were paired with variables.

    Args:
        pairs: the index of the array for the index of each variable that has one.
        way: the way that was taken, and why.
        renamed: the variables that were paired by place although people gave the array another
            name, with that name.
        found: how the structures lie upon each other, whatever way was taken.
        states: what there is to say about the state of optimizers.
        has_states: whether the source records which of its arrays are such state.
    """

    pairs: dict[int, int]
    way: Way = Way()
    renamed: Mapping[int, str] = fresh(factory=dict)
    found: Alignment = fresh(factory=Alignment)
    states: tuple[StateNote, ...] = ()
    has_states: bool = False


def in_all(naming: Naming, arrays: Sequence[int], variables: Sequence[int]) -> Naming:
    """The same naming, where only some arrays and variables were paired.

    Args:
        naming: how they were paired, with indices among themselves.
        arrays: their indices among all arrays.
        variables: their indices among all variables.
    """

    def pairs(found: Mapping[int, int]) -> dict[int, int]:
        return {variables[v]: arrays[a] for v, a in found.items()}

    found = Alignment(
        pairs(naming.found.pairs),
        {variables[v]: place for v, place in naming.found.by.items()},
        naming.found.above,
        naming.found.below,
    )
    renamed = {variables[v]: name for v, name in naming.renamed.items()}
    return replace(naming, pairs=pairs(naming.pairs), renamed=renamed, found=found)


def is_structured(arrays: Sequence[ArraySpec], variables: Sequence[VariableSpec]) -> bool:
    """Whether both sides have places of one sort, so that a way of naming has to be chosen."""
    for in_order in (False, True):
        if all(
            any(
                place.startswith(ORDER) is in_order
                for entry in side
                if entry.places
                for place in entry.places
            )
            for side in (arrays, variables)
        ):
            return True
    return False


def choose(
    arrays: Sequence[ArraySpec],
    variables: Sequence[VariableSpec],
    fits: Fits,
    by: By | None,
    route: str,
    dropped: Sequence[ArraySpec] = (),
) -> Naming:
    """Pair the arrays of a source with variables, all in one way.

    Args:
        arrays: the arrays of the source.
        variables: the variables of the target.
        fits: whether an array fits a variable.
        by: the way that the user asked for, if any.
        route: what to call source and target, for an error.
        dropped: what rules left out of the source. It is part of the structure that was saved.

    Raises:
        AmbiguousNames: several readings are possible.
    """
    choice = _Choice(arrays, variables, fits, route, dropped)
    naming = choice.made(by)
    errors.check_numbered(route, naming.pairs, arrays, dropped, variables, fits)
    return replace(naming, found=choice.found)


class _Choice:
    def __init__(
        self,
        arrays: Sequence[ArraySpec],
        variables: Sequence[VariableSpec],
        fits: Fits,
        route: str,
        dropped: Sequence[ArraySpec],
    ) -> None:
        self._arrays = arrays
        self._all = variables
        self._fits = fits
        self._route = route
        self._dropped = dropped
        self._places = [array.places or (array.name, *array.aliases) for array in arrays]
        self._in_order = any(p.startswith(ORDER) for a in arrays for p in a.places)
        self.found = Alignment()
        self._shared_name = ""  # what both sides call what was paired, if it is a part of one side

    def made(self, by: By | None) -> Naming:
        if by is By.NAME:
            return Naming(self._by_name(automatic=True), Way(by, ASKED))
        named = self._by_name(automatic=False)
        sure = {
            v: a for v, a in named.items() if not is_other_within(self._all[v], self._arrays[a])
        }
        found = self.found = self._aligned(by, sure if by is None else {})
        way = By.ORDER if found.is_in_order else By.PLACE
        if by is not None:
            return Naming(found.pairs, Way(way if found.pairs else by, ASKED))
        if sure:
            return self._by_names_first(found, sure, way)
        return self._by_place(found, way)

    # --- the ways ---------------------------------------------------------------------------

    def _by_name(self, automatic: bool) -> dict[int, int]:
        """The pairs by names that only one array and one variable have.

        Args:
            automatic: whether names count that a framework made up.
        """
        names = names_of if automatic else given_of
        return pair_by_names(map(names, self._all), map(names, self._arrays))

    def _aligned(self, by: By | None, sure: dict[int, int]) -> Alignment:
        """The best way to lay the structure of the source upon that of the model.

        Raises AmbiguousNames if several are as good, and names do not decide between them.
        """

        def wanted(place: str) -> bool:
            return by is None or place.startswith(ORDER) is (by is By.ORDER)

        arrays = [tuple(filter(wanted, places)) for places in self._places]
        variables = [tuple(map(normalise, filter(wanted, v.places))) for v in self._all]
        found = list(filter(self._is_usable, alignments(arrays, variables)))
        if not found:
            return self._in_other_order(by, sure)
        if by is not None:
            for each in found:
                if not each.above and not each.below:
                    return each
        best = max(found, key=lambda each: self._rank(each, sure))
        if self._against(best, sure):
            return best  # a contradiction, which the caller settles
        if by is None and not sure:
            called = self._called_alike(found)
            if called is not None:
                return called
        rivals: list[Alignment] = []
        for each in found:
            if (
                best.contradicts(each)
                and not self._against(each, sure)
                and not any(each.pairs == other.pairs for other in rivals)
            ):
                rivals.append(each)
        is_confirmed = any(best.pairs.get(v) == a for v, a in sure.items())
        if best.below and not is_confirmed:  # a part of the target: only names can confirm it
            whole = [each for each in rivals if not each.below]
            if whole:
                raise self._several_parts([best, *whole])
            return Alignment()
        is_complete = self._needed() <= best.pairs.keys()
        close = [
            each
            for each in rivals
            if len(each.pairs) * (1 if is_complete else 2) >= len(best.pairs)
        ]
        if close:
            raise self._several_parts([best, *close])
        if best.above and not is_confirmed and self._has_twins(best):
            raise self._several_parts([best])
        return best

    def _called_alike(self, found: Sequence[Alignment]) -> Alignment | None:
        """The only part that both sides call by one name, if there is one.

        Raises AmbiguousNames if there are several.
        """
        named = called_alike(found, self._arrays, self._places, self._all)
        if any(one.contradicts(other) for one, _ in named for other, _ in named):
            raise self._several_parts([each for each, _ in named])
        best = max(named, key=lambda each: len(each[0].pairs), default=None)
        if best is None:
            return None
        self._shared_name = best[1]
        return best[0]

    def _in_other_order(self, by: By | None, sure: Mapping[int, int]) -> Alignment:
        """What positions in an order say although the orders differ.

        Raises AmbiguousNames if that may be something else.
        """
        arrays, variables = self._arrays, self._all
        if by is By.PLACE or sure:
            return Alignment()
        found = alignments(orders.within_layers(arrays), orders.within_layers(variables))
        if found and self._is_usable(found[0]):
            return found[0]
        names = orders.names_of_models(arrays, variables) if by is None else ()
        parts = list(filter(None, map(self._in_model, names)))
        called = self._called_alike(parts)
        if called is not None:
            return called
        found = alignments(orders.without_counts(arrays), orders.without_counts(variables))
        if not found or by is By.ORDER:
            return found[0] if found else Alignment()
        if self._all_fit(found[0].pairs) and not any(
            is_renamed(variables[v], arrays[a], True) for v, a in found[0].pairs.items()
        ):
            raise errors.other_count(self._route, found[0], arrays, variables)
        return Alignment()

    def _in_model(self, name: str) -> Alignment | None:
        """All of the model on one side, with the part of this name on the other side."""
        ours, theirs = (orders.within_model(side, name) for side in (self._all, self._arrays))
        for found in alignments(theirs, ours):
            if len(found.pairs) == max(sum(map(bool, theirs)), sum(map(bool, ours))):
                return found
        return None

    def _several_parts(self, rivals: Sequence[Alignment]) -> AmbiguousNames:
        fitting = [each for each in rivals if self._all_fit(each.pairs)]
        called = []
        for each in fitting or rivals:
            theirs = part_name(self._arrays[a] for a in each.pairs.values()) if each.above else ""
            ours = part_name(self._all[v] for v in each.pairs) if each.below else ""
            called.append((theirs, ours))
        return errors.several_parts(self._route, fitting or rivals, called, bool(fitting))

    def _has_twins(self, found: Alignment) -> bool:
        """Whether what is left over on either side fits what a part of the source was paired with.

        Then nothing says that this part is the one that is meant.
        """
        paired = ends((place, self._all[v].shape) for v, place in found.by.items())
        outside = (
            (place, array.shape)
            for array, places in zip(self._arrays, self._places, strict=True)
            if not any(place.startswith(found.above) for place in places)
            for place in places
        )
        if paired & ends(outside):
            return True
        if found.above.count("/") < 2:  # what the program called it in its checkpoint
            return False
        left = set(range(len(self._all))) - found.pairs.keys()
        return bool(
            paired & ends((p, self._all[v].shape) for v in left for p in self._all[v].places)
        )

    def _rank(self, found: Alignment, sure: Mapping[int, int]) -> tuple[int, int, bool]:
        agreed = sum(found.pairs.get(v) == a for v, a in sure.items())
        return len(found.pairs), agreed, not found.above and not found.below

    def _is_usable(self, found: Alignment) -> bool:
        """False for an order that leaves variables out. Positions mean nothing in another order."""
        if not found.is_in_order:
            return True
        left = (each for i, each in enumerate(self._all) if i not in found.pairs)
        return not orders.is_any_in(set(found.by.values()), (v for v in left if not v.not_needed))

    # --- the decision -----------------------------------------------------------------------

    def _by_names_first(self, found: Alignment, sure: dict[int, int], way: By) -> Naming:
        """The pairs where people gave names that source and target share."""
        against = self._against(found, sure)
        if against:
            if self._all_fit(found.pairs) or not self._all_fit(sure):
                raise errors.contradiction(
                    self._route, self._arrays, self._all, sure, found, against, way
                )
            return self._named(sure, found)
        elsewhere = {v: a for v, a in sure.items() if v not in found.pairs}
        if elsewhere:  # names alone say where these are
            found = replace(found, pairs=found.pairs | elsewhere)
        pairs = {
            v: sure.get(v, a)
            for v, a in found.pairs.items()
            if v in sure or not self._renamed(v, a, found)
        }
        if elsewhere and self._other_structure(found, sure, pairs, way) is not None:
            return self._named(sure, found)
        self._refuse_other_structure(found, sure, pairs, way)
        if len(pairs) == len(sure):
            why = "people gave them names, and the places agree"
            return Naming(pairs, Way(By.NAME, why))
        why = f"{plural(len(pairs) - len(sure), 'name')} automatic, and the other names agree"
        return Naming(pairs, Way(way, why))

    def _against(self, found: Alignment, sure: Mapping[int, int]) -> list[int]:
        """The variables for which places say otherwise than names."""
        theirs = {a: v for v, a in found.pairs.items()} if sure else {}
        return [
            v
            for v, a in sure.items()
            if (found.pairs.get(v, a) != a or theirs.get(a, v) != v)
            and not self._is_also_at(found, v, a)
        ]

    def _is_also_at(self, found: Alignment, variable: int, array: int) -> bool:
        """Whether an array is at another place of the variable: a layer that two models share."""
        theirs = set(self._places[array])
        return any(
            place.startswith(found.below)
            and found.above + place.removeprefix(found.below) in theirs
            for place in map(normalise, self._all[variable].places)
        )

    def _named(self, sure: dict[int, int], found: Alignment) -> Naming:
        others = {}
        if len(found.pairs) > len(sure):
            others[By.ORDER if found.is_in_order else By.PLACE] = len(found.pairs)
        return Naming(sure, Way(By.NAME, "people gave them names", others))

    def _by_place(self, found: Alignment, way: By) -> Naming:
        """The pairs where no name that people gave is on both sides."""
        automatic = self._by_name(automatic=True)
        if not found.pairs:
            others = {By.NAME: len(automatic)} if automatic else {}
            return Naming({}, Way(way, "no place is on both sides", others))
        renamed = {v: self._called(a) for v, a in found.pairs.items() if self._renamed(v, a, found)}
        is_complete = self._needed() <= found.pairs.keys()
        if renamed and not (is_complete and len(renamed) == len(found.pairs)):
            # Only some layers have other names, or it is a part of another model. So the names say
            # which layers are others.
            pairs = {v: a for v, a in found.pairs.items() if v not in renamed}
            why = "people gave the arrays at the same places other names"
            if pairs:
                self._refuse_other_structure(found, {}, pairs, way)
                why = f"names are automatic, and {plural(len(renamed), 'other name')} differ"
            return Naming(pairs, Way(way, why, {way: len(found.pairs)}))
        self._refuse_other_structure(found, {}, found.pairs, way)
        shifted = any(automatic.get(v, a) != a for v, a in found.pairs.items())
        why = "names are automatic" + (", and count differently" if shifted else "")
        if self._shared_name:
            why = f"source and target call this part {self._shared_name!r}"
        elif renamed:
            why = "no name that people gave is on both sides"
        elif any(self._all[v].given for v in found.pairs) and not any(map(names_of, self._arrays)):
            why = "the source records no names"
        return Naming(found.pairs, Way(way, why), renamed)

    def _needed(self) -> set[int]:
        """The variables of the model that a source of all of it has."""
        return {i for i, variable in enumerate(self._all) if not variable.not_needed}

    def _renamed(self, variable: int, array: int, found: Alignment) -> bool:
        if self._shared_name:
            return False
        is_whole = not (found.above or found.below)
        return is_renamed(self._all[variable], self._arrays[array], is_whole)

    def _called(self, array: int) -> str:
        """The first name that people gave to an array, or else a framework."""
        spec = self._arrays[array]
        return next(iter((*given_of(spec), *spec.automatic)), spec.name)

    def _all_fit(self, pairs: Mapping[int, int]) -> bool:
        return all(self._fits(self._arrays[a], self._all[v]) for v, a in pairs.items())

    # --- errors -----------------------------------------------------------------------------

    def _refuse_other_structure(
        self, found: Alignment, sure: Mapping[int, int], pairs: Mapping[int, int], way: By
    ) -> None:
        """Raise AmbiguousNames if places may mean other layers than they did in the source."""
        error = self._other_structure(found, sure, pairs, way)
        if error is not None:
            raise error

    def _other_structure(
        self, found: Alignment, sure: Mapping[int, int], pairs: Mapping[int, int], way: By
    ) -> AmbiguousNames | None:
        arrays = [*self._arrays, *self._dropped]
        found = with_dropped(found, len(self._arrays), self._dropped, self._all)
        shift = find_shift(found, arrays, self._all, sure, pairs)
        if shift is not None:
            return errors.shifted(self._route, shift, found, way)
        moved = find_moved(found, arrays, self._all)
        if moved is not None:
            return errors.moved(self._route, *moved, found, way)
        misfit = find_misfit(found, pairs, arrays, self._all)
        misfit = misfit or find_other_class(pairs, arrays, self._all)
        misfit = misfit or find_other_layer(found.above, pairs, arrays, self._all)
        return None if misfit is None else errors.misfit(self._route, misfit, found, way)
