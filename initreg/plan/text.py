"""Plans as text that people can read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from initreg.option_spelling import join, option
from initreg.plan.rows import ASKED, RESTORED, By, Kind, Row, Rows
from initreg.records import record
from initreg.text.limits import checked_limit
from initreg.text.wording import (
    MORE,
    Line,
    code_text,
    folded,
    names_text,
    parts_text,
    plural,
    printable,
    shape_text,
    shared,
)

# What an array lacks if nothing matches in a way that was asked for.
_SOUGHT: dict[By | None, str] = {By.PLACE: "place", By.ORDER: "position"}
# The titles of the sections by (kind, expected), in the order in which a plan shows them.
_TITLES = {
    (Kind.MISMATCHED, False): "mismatched",
    (Kind.MATCHED, False): "matched",
    (Kind.RESHAPED, False): "matched, reshaped by axes of length 1",
    (Kind.CAST, False): "matched, cast",
    (Kind.PASSED_OVER, False): "mismatched, skipped",
    (Kind.OVERRIDDEN, False): "overridden by a later source",
    (Kind.SLOT, False): "optimiser slots of matched variables, on one side only",
    (Kind.ONLY_IN_TARGET, False): "only in the target, not restored",
    (Kind.ONLY_IN_SOURCE, False): "only in the source, not used",
    (Kind.KEPT, False): "only in the target, and maybe wrong now",
    (Kind.NOT_NEEDED, False): "only in the target, and no array is needed",
    (Kind.NOT_NEEDED, True): "only in the source, and not needed",
    (Kind.ONLY_IN_TARGET, True): "only in the target, as expected",
    (Kind.ONLY_IN_SOURCE, True): "only in the source, as expected",
    (Kind.STATE, False): "of the state of an optimizer, not restored",
    (Kind.STATE, True): "of the state of an optimizer, saved once more",
    (Kind.DROPPED, False): "dropped, as requested",
}
_ONE_SLOT = "optimiser slot of a matched variable, on one side only"  # the one title with a plural
_DOUBTFUL = "matched, but maybe with axes in another order"  # of any kind that is restored


# The kinds of rows that a user should look at, unless they are expected.
_ATTENTION = frozenset(
    {
        *(Kind.MISMATCHED, Kind.PASSED_OVER, Kind.KEPT),
        *(Kind.ONLY_IN_TARGET, Kind.ONLY_IN_SOURCE),
    }
)


@record()
class Section:
    """All rows of one kind, those that are expected apart from the others.

    Args:
        kind: the kind of the rows.
        expected: whether they are expected to be on one side only.
        doubtful: whether the order of their axes is in doubt.
        count: how many rows they are.
        title: what it means for the user.
        lines: the names, folded, with their notes.
        hidden: how many names are not in ``lines``.
    """

    kind: Kind
    expected: bool
    count: int
    title: str
    lines: Sequence[Line]
    hidden: int
    doubtful: bool = False

    @property
    def asks_for_attention(self) -> bool:
        """Whether the user should look at it: a notebook shows it open, a terminal in yellow."""
        return self.doubtful or (self.kind in _ATTENTION and not self.expected)


def sections(plan: Rows, limit: int | None = 20) -> list[Section]:
    """The sections of a plan, each with at most ``limit`` lines. Empty ones are left out.

    Raises:
        RuleError: the limit is not a number of lines.
    """
    limit = checked_limit(limit)
    doubtful, counts = plan.doubtful, plan.counts
    found = []
    if doubtful:
        lines, hidden = folded(_notes(doubtful, plan), limit)
        title = _DOUBTFUL
        found.append(Section(Kind.MATCHED, False, len(doubtful), title, lines, hidden, True))
    for (kind, expected), title in _TITLES.items():
        if kind not in counts:
            continue
        rows = _rows_of(plan, kind, expected)
        if kind is Kind.SLOT and limit is not None:
            count, lines, hidden = counts[kind], _slot_lines(rows), 0
        else:
            notes = _notes(rows, plan)
            count, (lines, hidden) = len(notes), folded(notes, limit)
        if kind is Kind.SLOT and count == 1:
            title = _ONE_SLOT
        if count:
            found.append(Section(kind, expected, count, title, lines, hidden))
    return found


def _rows_of(plan: Rows, kind: Kind, expected: bool) -> Iterable[Row]:
    """The rows of a section."""

    def is_expected(row: Row) -> bool:
        is_array = kind is Kind.NOT_NEEDED and not row.in_target
        return (row.expected or is_array) and (kind, True) in _TITLES

    special = plan.saying_more((kind,))  # of the others, none is expected or in doubt
    if expected:
        return filter(is_expected, special)
    if not special:
        return plan.each((kind,))
    return (
        row
        for row in plan.each((kind,))
        if not is_expected(row) and not (row.doubt and kind in RESTORED)
    )


def heading(plan: Rows) -> str:
    """The sources, the target, and how many variables are restored, or why none is."""
    if not plan.ok:
        return f"{route_text(plan)}" + refusal(plan)
    total = len(plan.variable_names)
    count = sum(plan.counts[kind] for kind in RESTORED & plan.counts.keys())
    restored = f"{count:,} of {plural(total, 'variable')}"
    will = "" if plan.carried_out else "will be "
    return f"{route_text(plan)}: {restored} {will}restored"


def refusal(plan: Rows) -> str:
    """Why a plan that fails is not carried out: ``: cannot be carried out: 1 array ...``."""
    return ": cannot be carried out: " + _fault_text(plan) + "; nothing is written"


def ways_text(plan: Rows) -> list[str]:
    """By which names each source was matched, if there was a choice."""
    return [
        f"{way}{source_note_of(plan, number)}"
        for number, way in enumerate(plan.ways)
        if way.by is not None
    ]


def route_text(plan: Rows) -> str:
    """The sources and the target: ``base.npz + dict of 2 -> TF1 session``."""
    return f"{chain_text(plan)} -> {printable(plan.target)}"


def chain_text(plan: Rows) -> str:
    """The sources: ``base.npz + dict of 2``."""
    return " + ".join(map(printable, plan.sources)) or "nothing"


def plan_text(plan: Rows, limit: int | None = 20) -> str:
    """The whole plan as text, with at most ``limit`` lines for each section."""
    lines = [heading(plan)]
    lines += [f"  {text}" for text in ways_text(plan)]
    lines += ["  " + note.text + source_note_of(plan, note.source) for note in plan.states]
    for section in sections(plan, limit):
        lines.append(f"  {section.count:,} {section.title}")
        lines += ["    " + line.text() for line in section.lines]
        if section.hidden:
            lines.append(f"    ... and {plural(section.hidden, 'name')} more: " + MORE)
    lines += ["  unmatched pattern: " + clause for clause in plan.unmet]
    lines += [f"  hint: {hint}" for hint in plan.hints]
    return join("\n", lines)


def _notes(rows: Iterable[Row], plan: Rows) -> list[tuple[str, str]]:
    """The name of each row, and the note that goes with it."""
    notes: list[tuple[str, str]] = []
    differing: dict[int, tuple[str, str, str]] = {}  # few
    several = len(plan.sources) > 1
    for index, row in enumerate(rows):
        note, source = row_note(row, plan), source_note(row, plan) if several else ""
        notes.append((row.name, note + source))
        if row.array is not None and row.array != row.name:
            differing[index] = note, _origin(row.array, row.name), source
    # If too many names differ in their own way, no two notes would be equal and nothing would fold.
    ways: set[str | None] = {origin for _, origin, _ in differing.values()}
    if len(differing) < len(notes):
        ways.add(None)  # the others have the name that the source has
    many = len(ways) > 10
    for index, (note, origin, source) in differing.items():
        how = "under another name" if many else f"from {origin}"
        notes[index] = notes[index][0], f"{note}, {how}{source}"
    return notes


def _origin(origin: str, called: str) -> str:
    """How the name in the source differs from that of the row."""
    same = shared(reversed(origin), reversed(called))
    array, name = origin[: len(origin) - same], called[: len(called) - same]
    rest = called[len(name) :]
    if array and name and not array.endswith(tuple("/.:")):  # up to the next separator
        cut = re.search(r"[/.:]", rest)
        at = cut.end() if cut else len(rest)
        array, rest = array + rest[:at], rest[at:]
    if not rest:
        return printable(origin)
    return f"{printable(array)}*" if array else f"the name without {printable(name)!r}"


def row_note(row: Row, plan: Rows) -> str:
    """The note of one row, without its source: shapes, dtypes, changes."""
    if row.array_dtype is None:
        note = f"{shape_text(row.shape)} {row.dtype}"
        note += f", {row.reason}" if row.kind in (Kind.NOT_NEEDED, Kind.KEPT) else ""
        return f"{note}, {parts_text(row.parts)}" if row.parts else note
    doubt = (row.doubt,) if row.doubt else ()
    note = f"{shape_text(row.array_shape)} {row.array_dtype}"
    if row.kind is Kind.RESHAPED:
        note += f" -> {shape_text(row.shape)}"
        note += f" {row.dtype}" if row.is_cast else ""
    elif row.kind is Kind.CAST:
        note += f" -> {row.dtype}"
    elif row.kind in (Kind.MISMATCHED, Kind.PASSED_OVER):
        note = mismatch_text(row)
    elif row.kind in (Kind.NOT_NEEDED, Kind.ONLY_IN_SOURCE) and row.reason:
        note += f", {row.reason}"
    elif row.kind is Kind.OVERRIDDEN and row.by is not None:
        note += f"  by {source_text(plan, row.by)}"
    parts = (parts_text(row.parts),) if row.parts else ()
    return ", ".join((note, *parts, *row.changes, *doubt))


def mismatch_text(row: Row) -> str:
    """Why the array does not fit."""
    return f"{row.reason} (the shape is the transpose)" if row.is_transpose else row.reason


def source_note(row: Row, plan: Rows) -> str:
    """The source of the array, if the chain has more than one, else ""."""
    return "" if row.source is None else source_note_of(plan, row.source)


def source_note_of(plan: Rows, index: int) -> str:
    """A note that names a source, if the chain has more than one, else ""."""
    return f"  [{source_text(plan, index)}]" if len(plan.sources) > 1 else ""


def source_text(plan: Rows, index: int) -> str:
    """The label of a source, with its number if another source of the chain has this label."""
    label = plan.sources[index]
    shown = printable(label)
    return f"{shown} (#{index + 1})" if plan.sources.count(label) > 1 else shown


def warning_text(plan: Rows, rows: Sequence[Row], what: str) -> str:
    """The text of a warning about rows: how many they are, and their names."""
    shown = "".join(f"\n  {line}" for line in names_text(_notes(rows, plan)))
    return f"{route_text(plan)}: {len(rows):,} {what}:{shown}"


# --- plans that fail --------------------------------------------------------------------------


def verdict_text(plan: Rows) -> str:
    """What makes the plan fail, and how many rows do, "" if it is ok."""
    return _fault_text(plan, f" in {chain_text(plan)}", f" in {printable(plan.target)}")


def _fault_text(plan: Rows, in_source: str = "", in_target: str = "") -> str:
    """The verdict. If nothing matched, it says where, unless the text around it does."""
    if plan.matches_nothing:
        left = " left" if plan.of(Kind.DROPPED) else ""
        asked = {way.by if way.why == ASKED else None for way in plan.ways}
        sought = _SOUGHT.get(asked.pop(), "name") if len(asked) == 1 else "name"
        return f"no array{left}{in_source} has the {sought} of a variable{in_target}"
    mismatched, missing, unused = plan.faults
    texts = []
    if mismatched:
        texts.append(f"{plural(len(mismatched), 'array')} {_verb(mismatched, 'do')} not fit")
    if missing:
        count = f"{plural(len(missing), 'variable')} {_verb(missing, 'are')}"
        forbids = option("on_missing", "error") + " does not allow"
        texts.append(f"{count} supplied by no source, which " + forbids)
    if unused:
        count = f"{plural(len(unused), 'array')} {_verb(unused, 'are')}"
        forbids = option("on_unused", "error") + " does not allow"
        texts.append(f"{count} taken by no variable, which " + forbids)
    return join("; ", texts)


def _verb(rows: Sequence[Row], verb: str) -> str:
    return verb if len(rows) != 1 else {"do": "does", "are": "is"}[verb]


def failure_text(plan: Rows) -> str:
    """Everything that is wrong with the plan, and what to do about it."""
    if plan.matches_nothing:
        return _nothing_matched_text(plan)
    mismatched, missing, unused = plan.faults
    text = f"{route_text(plan)}: " + verdict_text(plan) + ", and nothing was written:"
    entries = [(row.name, mismatch_text(row) + source_note(row, plan)) for row in mismatched]
    for line in names_text(entries, limit=None, gap=": "):
        text += f"\n  {line}"
    for line in names_text(_notes([*missing, *unused], plan), limit=None):
        text += f"\n  {line}"
    for hint in plan.hints:
        text += f"\n  {hint}"
    if mismatched:
        text += "\nPass " + _naming("ignore", mismatched) + " to leave these variables as they are"
        text += ", or " + option("ignore_mismatch", True) + " to restore all others"
    for rows, name in ((missing, "expect_missing"), (unused, "expect_unused")):
        if rows:
            text += "\nPass " + _naming(name, rows) + " if that is expected"
    return text


def _naming(name: str, rows: Sequence[Row]) -> str:
    """An option that takes the names of the rows, or globs if they are too many to be shown."""
    names = list(dict.fromkeys(row.name for row in rows))
    if len(names) > 3:
        return option(name, ["GLOB"], f"{name}=[names or globs]")
    return option(name, names, f"{name}={code_text(names)}")


def _nothing_matched_text(plan: Rows) -> str:
    """The error if nothing matched: what may help, and some names of either side."""
    have = plan.of(Kind.ONLY_IN_SOURCE)
    want = [row for row in plan if row.in_target]
    dropped = len(plan.of(Kind.DROPPED))
    text = verdict_text(plan) + ", and nothing was written"
    if dropped:
        text += f"\n  {plural(dropped, 'array')} dropped by rules or " + option("ignore")
        text += "" if have else ", and none is left"
    for note in plan.states:
        text += "\n  " + note.text
    for hint in plan.hints:
        text += f"\n  {hint}"
    have_text = _some([f"{printable(r.name)} {shape_text(r.array_shape)}" for r in have])
    want_text = _some([f"{printable(r.name)} {shape_text(r.shape)}" for r in want])
    return text + f"\n  the source has {have_text}; the target has {want_text}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return (", ".join(names[:3]) or "nothing") + more


def _slot_lines(rows: Iterable[Row]) -> list[Line]:
    counts: dict[tuple[str, bool], int] = {}
    for row in rows:
        variable = row.reason.removeprefix("of ")
        slot = row.name.removeprefix(variable)  # /Adam, _slot_v
        slot = f"/{row.name.rsplit('/', 1)[-1]}" if slot in ("", row.name) else slot
        key = (slot, row.in_target)
        counts[key] = counts.get(key, 0) + 1
    return [
        Line(
            f"...{printable(slot)}",
            count,
            f"only in {'the target' if of_target else 'the source'}",
        )
        for (slot, of_target), count in counts.items()
    ]
