"""Which layer of a source is which one of a target.

A layer can only be one that has the same weights, with shapes that fit. Where several fit, the
numbers and the words of the names decide, then the order, if both sides have one. What fits equally
well in two ways is left open.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, permutations

from initreg.bridge import structure
from initreg.bridge.conversions import CONVENTIONS
from initreg.bridge.fitting import Fit, fit, like_roles
from initreg.bridge.layers import SourceLayer, TargetLayer, convention_of
from initreg.bridge.ordering import counts_in_order, is_numbered, is_recorded, is_sorted, reachable
from initreg.bridge.words import alike, meaning, template

_MOST_TOGETHER = 6  # layers that are paired as a whole, in all ways
_OTHER_AXES = 0.5  # what it costs if a layer only fits with axes as its names do not have them
_MARGIN = 0.15  # by how much one reading must be better than another one


@dataclass(frozen=True, slots=True)
class Paired:
    """A layer of the source and the one of the target that it is, and why."""

    source: SourceLayer
    target: TargetLayer
    fit: Fit
    why: str


@dataclass(slots=True)
class Open:
    """Layers of a target of which it is not known which layers of the source they are.

    Args:
        targets: the layers of the target.
        sources: the layers of the source that fit them.
        why: why nothing decides.
    """

    targets: list[TargetLayer]
    sources: list[SourceLayer]
    why: str


@dataclass(slots=True)
class Pairs:
    """What was found: pairs, and what is open or on one side only."""

    paired: list[Paired] = field(default_factory=list)
    open: list[Open] = field(default_factory=list)
    only_in_source: list[SourceLayer] = field(default_factory=list)
    only_in_target: list[TargetLayer] = field(default_factory=list)


def pair(
    sources: Sequence[SourceLayer],
    targets: Sequence[TargetLayer],
    conventions: Sequence[str] = CONVENTIONS,
) -> Pairs:
    """Find out which layer of the source each one of the target is.

    Args:
        sources: the layers of the source.
        targets: the layers of the target.
        conventions: the orders of axes that the source may have.
    """
    return _Pairing(sources, targets, conventions).pairs()


class _Pairing:
    def __init__(
        self,
        sources: Sequence[SourceLayer],
        targets: Sequence[TargetLayer],
        conventions: Sequence[str],
    ) -> None:
        self.sources, self.targets = sources, targets
        by_roles: dict[frozenset[str], list[int]] = defaultdict(list)
        for s, source in enumerate(sources):
            for each in like_roles(source.weights):
                by_roles[each].append(s)
        self.fits: dict[tuple[int, int], Fit] = {}
        self.sources_of: dict[int, list[int]] = defaultdict(list)
        self.targets_of: dict[int, list[int]] = defaultdict(list)
        for t, target in enumerate(targets):
            for s in by_roles.get(frozenset(target.variables), ()):
                found = fit(sources[s], target, conventions)
                if found:
                    self.fits[s, t] = found
                    self.sources_of[t].append(s)
                    self.targets_of[s].append(t)
        has_post = any("post" in template(target.name)[0] for target in targets)
        meanings_of = [meaning(each.name, not has_post) for each in sources]
        self.words = [meanings_of, [meaning(each.name) for each in targets]]
        self.numbers = structure.likeness(
            structure.groups([each.name for each in sources], [_keys(s) for s in sources]),
            structure.groups([each.name for each in targets], [_keys(t) for t in targets]),
            lambda s, t: (s, t) in self.fits,
            self._alike,
        )
        names = [each.name for each in sources]
        self.is_sorted = is_sorted(_arrays(sources)) or (len(names) > 3 and is_sorted(names))
        self.names_say = convention_of(sources)
        self.by_order: set[int] = set()  # the layers of the target that only the order decided
        self.scores: dict[tuple[int, int], float] = {}
        self.before = reachable(targets)

    def _said(self, s: int, t: int) -> float:
        """What numbers and words say, whatever the axes."""
        return self.numbers.get((s, t), 0.0) + self.likeness(s, t)

    def score(self, s: int, t: int) -> float:
        """How likely two layers that fit are the same."""
        found = self.scores.get((s, t))
        if found is None:
            found = self._said(s, t)
            if self.names_say is not None and self.names_say not in self.fits[s, t]:
                found -= _OTHER_AXES
            self.scores[s, t] = found
        return found

    def _alike(self, s: int, t: int) -> tuple[int, int]:
        """How many layers of the source fit the one of the target and are as like it as this one,
        and the same the other way round, if the names of the target count layers. Else (0, 0)."""
        if not (self.targets[t].automatic or _is_made_up(self.targets[t])):
            return 0, 0
        least = self.likeness(s, t) - _MARGIN
        return (
            sum(self.likeness(each, t) >= least for each in self.sources_of[t]),
            sum(self.likeness(s, each) >= least for each in self.targets_of[s]),
        )

    def _is_tied(self, one: int, other: int) -> bool:
        """Whether two layers of the source have the same weights."""
        tied = self.sources[one].tied
        return tied >= 0 and tied == self.sources[other].tied

    def likeness(self, s: int, t: int) -> float:
        return alike(self.words[0][s], self.words[1][t])

    # --- deciding ---------------------------------------------------------------------------------

    def pairs(self) -> Pairs:
        found = Pairs()
        taken: set[int] = set()
        for ss, ts in self._components():
            decided, undecided, reasons = self._decide(ss, ts)
            for t, (s, why) in sorted(decided.items()):
                found.paired.append(Paired(self.sources[s], self.targets[t], self.fits[s, t], why))
                taken.add(s)
            for some, candidates in undecided:
                found.open.append(
                    Open(
                        [self.targets[t] for t in some],
                        [self.sources[s] for s in candidates],
                        reasons,
                    )
                )
                taken.update(candidates)
        found.only_in_source = [each for s, each in enumerate(self.sources) if s not in taken]
        found.only_in_target = [
            each for t, each in enumerate(self.targets) if not self.sources_of.get(t)
        ]
        found.paired.sort(key=lambda each: each.target.position)
        return found

    def _components(self) -> list[tuple[list[int], list[int]]]:
        """Layers that fit each other, directly or by way of others."""
        seen: set[int] = set()
        found = []
        for first in range(len(self.targets)):
            if first in seen or not self.sources_of.get(first):
                continue
            ts, ss, rest = {first}, set[int](), [first]
            while rest:
                for s in self.sources_of[rest.pop()]:
                    if s not in ss:
                        ss.add(s)
                        new = [t for t in self.targets_of[s] if t not in ts]
                        ts.update(new)
                        rest += new
            seen |= ts
            found.append((sorted(ss), sorted(ts)))
        return found

    def _decide(
        self, ss: list[int], ts: list[int]
    ) -> tuple[dict[int, tuple[int, str]], list[tuple[list[int], list[int]]], str]:
        decided: dict[int, tuple[int, str]] = {}
        free_s, free_t = set(ss), set(ts)
        if len(ss) == len(ts) == 1:
            s, t = ss[0], ts[0]
            return {t: (s, "the only one with these shapes")}, [], ""
        progress = True
        while progress and free_t and free_s:
            progress = False
            best_of_t = {
                t: self._best(
                    [(self.score(s, t), s) for s in free_s if (s, t) in self.fits], self._is_tied
                )
                for t in free_t
            }
            best_of_s = {
                s: self._best(
                    [(self.score(s, t), t) for t in free_t if (s, t) in self.fits],
                    lambda one, other: one == other,
                )
                for s in free_s
            }
            for t in sorted(free_t):
                best = best_of_t[t]
                if best is not None and best_of_s[best] == t:
                    decided[t] = best, self._why(best, t)
                    progress = True
            for t, (s, _) in decided.items():
                free_t.discard(t)
                free_s.discard(s)
            if not progress:
                progress = self._together(free_s, free_t, decided)
            if not progress:
                progress = self._by_order(free_s, free_t, decided)
        doubtful = self._doubtful(decided, free_s)
        for t in doubtful:
            free_s.add(decided.pop(t)[0])
            free_t.add(t)
        if not free_t:
            return decided, [], ""
        candidates = [s for s in sorted(free_s) if any((s, t) in self.fits for t in free_t)]
        if not candidates:
            return decided, [(sorted(free_t), [])], "no layer of the source is left for them"
        return decided, self._split(free_t, candidates), "several readings fit as well"

    def _together(
        self, free_s: set[int], free_t: set[int], decided: dict[int, tuple[int, str]]
    ) -> bool:
        """Decide what is left as a whole, if one way of pairing all of it is better than all
        others. Returns whether it was."""
        ts, ss = sorted(free_t), sorted(free_s)
        if not len(ts) <= len(ss) <= _MOST_TOGETHER:
            return False
        totals = sorted(
            (sum(self.score(s, t) for s, t in zip(some, ts, strict=True)), some)
            for some in permutations(ss, len(ts))
            if all((s, t) in self.fits for s, t in zip(some, ts, strict=True))
        )
        if not totals or (len(totals) > 1 and totals[-1][0] - totals[-2][0] < _MARGIN):
            return False
        for s, t in zip(totals[-1][1], ts, strict=True):
            decided[t] = s, self._why(s, t)
            free_s.discard(s)
            free_t.discard(t)
        return True

    def _split(self, free_t: set[int], candidates: list[int]) -> list[tuple[list[int], list[int]]]:
        """What is open, in the smallest groups of layers that fit each other equally well."""
        groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for t in sorted(free_t):
            scores = {s: self.score(s, t) for s in candidates if (s, t) in self.fits}
            top = max(scores.values(), default=0.0)
            near = tuple(s for s in scores if scores[s] >= top - _MARGIN)
            groups[near].append(t)
        return [(ts, list(ss)) for ss, ts in groups.items()]

    def _best(
        self, scored: list[tuple[float, int]], same: Callable[[int, int], bool]
    ) -> int | None:
        """The one that is better than all others by a margin, None if there is none.

        Args:
            scored: the candidates with their scores.
            same: whether two candidates are the same weights.
        """
        scored.sort(key=lambda each: (-each[0], each[1]))
        if not scored:
            return None
        top, best = scored[0]
        if any(top - score < _MARGIN and not same(best, other) for score, other in scored[1:]):
            return None
        return best

    def _why(self, s: int, t: int) -> str:
        said = sorted(self.words[0][s] & self.words[1][t])
        numbers = self.numbers.get((s, t), 0.0) > 0
        if said and numbers:
            return f"numbers, and {', '.join(said)}"
        if said:
            return f"names: {', '.join(said)}"
        return "numbers" if numbers else "the only one left"

    # --- order ------------------------------------------------------------------------------------

    def _by_order(
        self, free_s: set[int], free_t: set[int], decided: dict[int, tuple[int, str]]
    ) -> bool:
        """Decide by order what names leave open. Returns whether anything was."""
        done = False
        groups = defaultdict(list)
        for t in sorted(free_t):
            scores = {s: self.score(s, t) for s in free_s if (s, t) in self.fits}
            if not scores:
                continue
            top = max(scores.values())
            groups[tuple(sorted(s for s in scores if scores[s] >= top - _MARGIN))].append(t)
        for ss, ts in groups.items():
            if len(ss) != len(ts) or not self._is_ordered(ss, ts):
                continue
            for s, t in zip(
                sorted(ss, key=lambda s: self.sources[s].position),
                sorted(ts, key=lambda t: self.targets[t].position),
                strict=True,
            ):
                decided[t] = s, f"order: {len(ss)} alike, one after the other on both sides"
                self.by_order.add(t)
                free_s.discard(s)
                free_t.discard(t)
            done = True
        return done

    def _is_ordered(self, ss: Sequence[int], ts: Sequence[int]) -> bool:
        """Whether the order of these layers is known on both sides."""
        parts = [template(self.sources[s].name) for s in ss]
        same = len({words for words, _ in parts}) == 1
        by_position = sorted(ss, key=lambda s: self.sources[s].position)
        if same:
            if by_position != [s for _, s in sorted(zip([n for _, n in parts], ss, strict=True))]:
                return False
        elif self.is_sorted:
            return False
        ordered = sorted(ts, key=lambda t: self.targets[t].position)
        is_norm = all(set(self.targets[t].variables) <= {"gamma", "beta"} for t in ts)
        for a, b in pairwise(ordered):
            one, other = self.targets[a], self.targets[b]
            if not is_recorded(one, other):
                # Not recorded: queries and keys are side by side, norms are one after the other.
                near = is_norm and (same or (one.inside == other.inside != ""))
                if not (near or (same and not other.automatic and is_numbered(one, other))):
                    return False
            elif one.name not in self.before[other.name]:
                return False
        return True

    def _doubtful(self, decided: dict[int, tuple[int, str]], free_s: set[int]) -> list[int]:
        """Those that might as well be exchanged, or be another layer that is left."""
        doubtful: set[int] = set()
        by_names = [(t, s) for t, (s, _) in decided.items() if t not in self.by_order]
        for t, s in by_names:
            own = self.score(s, t)
            rivals = [
                other for other in free_s if (other, t) in self.fits and not self._is_tied(other, s)
            ]
            if any(self.score(other, t) > own - _MARGIN for other in rivals):
                doubtful.add(t)
        for index, (t1, s1) in enumerate(by_names):
            for t2, s2 in by_names[index + 1 :]:
                if (s1, t2) not in self.fits or (s2, t1) not in self.fits:
                    continue
                gain = self._gain(self.score, s1, t1, s2, t2)
                said = self._gain(self._said, s1, t1, s2, t2)
                against_axes = gain < said or said <= -_MARGIN  # one says this, the other that
                if gain < _MARGIN or against_axes or self._only_counted(s1, t1, s2, t2):
                    doubtful.update((t1, t2))
        return sorted(doubtful)

    @staticmethod
    def _gain(score: Callable[[int, int], float], s1: int, t1: int, s2: int, t2: int) -> float:
        """By how much two pairs are better than if their layers were exchanged."""
        return score(s1, t1) + score(s2, t2) - score(s1, t2) - score(s2, t1)

    def _only_counted(self, s1: int, t1: int, s2: int, t2: int) -> bool:
        """Whether two layers that are side by side are told apart by numbers alone that count the
        layers of a process."""
        one, other = self.targets[t1], self.targets[t2]
        if not (one.automatic and other.automatic):
            return False
        if is_recorded(one, other):
            first, last = sorted((one, other), key=lambda layer: layer.position)
            if first.name in self.before[last.name] and counts_in_order(first, last):
                return False
        words = self.likeness(s1, t1) + self.likeness(s2, t2)
        return words - self.likeness(s1, t2) - self.likeness(s2, t1) < _MARGIN


def _is_made_up(target: TargetLayer) -> bool:
    """Whether the last part of a name is a class and a number, as in ``encoder_0/dense_3``: a
    framework made it up, whatever the layer around it is called."""
    words = re.sub(r"_\d+$", "", target.name.rpartition("/")[2])
    return words.replace("_", "") == target.kind.lower()


def _arrays(sources: Sequence[SourceLayer]) -> list[str]:
    """The names of all arrays in the order of the source."""
    found = {
        array.name: (source.position, at)
        for source in sources
        for at, weight in enumerate(source.weights.values())
        for array in weight.arrays
    }
    return sorted(found, key=lambda name: found[name])


def _keys(layer: SourceLayer | TargetLayer) -> list[structure.Key]:
    """What the layers of a group share: their roles, and the window of their kernels or not."""
    if isinstance(layer, SourceLayer):
        shapes = {role: weight.shape for role, weight in layer.weights.items()}
        kernel = shapes.get("kernel", ())
        window: tuple[int | None, ...] = kernel[2:] if len(kernel) > 2 else ()
        is_depthwise = len(kernel) > 2 and kernel[1] == 1
    else:
        spec = layer.layers.get("kernel")
        shape = layer.variables["kernel"].shape or () if spec is not None else ()
        window = tuple(
            size
            for size, axis in zip(shape, spec.axes if spec is not None else (), strict=False)
            if axis == "window"
        )
        is_depthwise = spec is not None and "multiplier" in spec.axes
        shapes = dict.fromkeys(layer.variables, ())
    found = frozenset(shapes)
    return [(found,), (found, window, is_depthwise)]
