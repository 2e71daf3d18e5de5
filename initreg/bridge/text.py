"""What was mapped, as a rule file with a comment on each line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from initreg.bridge.layers import split_name
from initreg.bridge.lines import FusedArray, LongerTable, MappedVariable, OpenQuestion
from initreg.rules.writing import toml_text, toml_value
from initreg.text.wording import printable


def rule_text(
    heading: Sequence[str],
    variables: Sequence[MappedVariable],
    open_questions: Sequence[OpenQuestion],
    *,
    missing: Sequence[str],
    unused: Sequence[str],
    dropped: Sequence[str],
    tied: Sequence[str],
    longer: Sequence[LongerTable] = (),
    first: str = "",
    fused: Sequence[FusedArray] = (),
) -> str:
    """The text of a rule file: the rules that were given, a step for names, and one for axes.

    Args:
        heading: the lines of its first comment.
        variables: the variables whose arrays are known.
        open_questions: what is open. It becomes a comment.
        missing: variables without an array, for a comment.
        unused: arrays without a variable, for a comment.
        dropped: arrays to drop, because they are no weights.
        tied: arrays to drop, because they are tied to others.
        longer: arrays with more rows than a variable in ``missing``, for a comment.
        first: the text of the rules that were given.
        fused: arrays that hold several weights, in an order that is not known, for a comment.
    """
    lines = [f"# {printable(line)}" for line in heading]
    for question in open_questions:
        lines += ["#", *_question(question)]
    if missing:
        lines += ["#", "# No array of the source fits these variables:", *_names(missing)]
    for table in longer:
        lines += ["#", *_longer(table)]
    for array in fused:
        lines += ["#", *_fused(array)]
    if unused:
        lines += ["#", "# No variable takes these arrays:", *_names(unused)]
    whole = [each for each in variables if each.axis < 0 and not each.how]
    split = [each for each in variables if each.axis >= 0]
    reshaped = [each for each in variables if each.change.reshape]
    moved = [each for each in variables if each.change.permute]
    shaped = [each for each in variables if each.change.shape]
    lines += ["", first.rstrip("\n")] if first else []
    by_head = {each.arrays[0]: each.heads for each in split if each.heads}
    if by_head:
        lines += ["", "[[step]]", "", "[step.reshape]"]
        lines += [_line(name, list(shape)) for name, shape in by_head.items()]
    lines += ["", "[[step]]"]
    kept = [name for each in variables for name in each.arrays]
    kept += [name for question in open_questions for name in question.arrays]
    drop = _globs(dropped, [*kept, *unused])
    left_out = [(each, "not a weight of the model") for each in drop]
    left_out += [(each, "tied to an array that is used") for each in tied]
    if left_out:
        lines += ["drop = [", *(f"    {toml_text(n)},  # {why}" for n, why in left_out), "]"]
    if whole:
        lines += ["", "[step.rename]"]
        lines += [_line(each.arrays[0], each.variable, _evidence(each)) for each in whole]
    lines += _splits(split)
    for how in ("sum", "concat", "stack"):
        made = [each for each in variables if each.how == how]
        lines += ["", f"[step.{how}]"] if made else []
        for each in made:
            value: Any = list(each.arrays)
            value = value if how == "sum" else {"axis": each.along, "of": value}
            lines.append(_line(each.variable, value, _evidence(each)))
    if reshaped:
        lines += ["", "[step.reshape]"]
        lines += [_line(each.variable, list(each.change.reshape)) for each in reshaped]
    gated = [each for each in variables if each.gates]
    if moved or shaped or gated:
        lines += ["", "[[step]]"]
    if moved:
        lines += ["", "[step.permute]"]
        lines += [_line(each.variable, list(each.change.permute)) for each in moved]
    if gated:
        lines += ["", "[step.gates]"]
        lines += [
            _line(each.variable, {"axis": -1, "from": each.gates[0], "to": each.gates[1]})
            for each in gated
        ]
    if shaped:
        lines += ["", "[step.reshape]"]
        lines += [_line(each.variable, list(each.change.shape)) for each in shaped]
    return "\n".join(lines) + "\n"


def _line(name: str, value: Any, comment: str = "") -> str:
    text = f"{toml_text(name)} = {toml_value(value, bare=isinstance(value, dict))}"
    return f"{text}  # {printable(comment)}" if comment else text


def _evidence(each: MappedVariable) -> str:
    return f"{each.layer}: {each.why}" if each.layer else each.why


def _splits(parts: Sequence[MappedVariable]) -> list[str]:
    """The arrays that are taken apart. A part that no variable takes keeps a name of its own."""
    by_array: dict[str, dict[int, MappedVariable]] = {}
    for each in parts:
        by_array.setdefault(each.arrays[0], {})[each.part] = each
    lines = ["", "[step.split]"] if by_array else []
    for array, found in by_array.items():
        some = next(iter(found.values()))
        into = [
            found[part].variable if part in found else f"{array}/{part}"
            for part in range(some.parts)
        ]
        how = {"axis": some.axis, "into": into}
        how |= {"sizes": list(some.sizes)} if some.sizes else {}
        lines.append(_line(array, how, _evidence(some)))
    return lines


def _question(question: OpenQuestion) -> list[str]:
    variables, arrays = question.variables, question.arrays
    if len(variables) == len(arrays) == 1 and not question.readings:
        lines = [f"# OPEN: {printable(question.why)}:"]
        lines += _names([f"{arrays[0]} for {variables[0]}"])
        return [*lines, "# If it is this array, add a step at the end that renames and changes it"]
    if not question.readings:
        lines = [f"# OPEN: {printable(question.why)}. Which of these arrays"]
        lines += _names(arrays)
        lines += ["# is which of these variables? Add a line for each to the renames below:"]
        return lines + _names(variables)
    lines = [f"# OPEN: {printable(question.why)}:"]
    lines += _names([f"{arrays[0]} for {variables[0]}"])
    for reading in question.readings:
        lines.append(f"# If {reading.what}, add at the end of this file:")
        lines += _names(reading.lines)
        if reading.words:
            lines.append(f"# with numbers for {', '.join(reading.words)}")
    return lines


def _longer(table: LongerTable) -> list[str]:
    rows = table.array_shape[0] - table.shape[0]
    array, variable = toml_text(table.array), toml_text(table.variable)
    part = toml_value({"axis": 0, "start": rows}, bare=True)
    return [
        f"# OPEN: {printable(table.variable)} {table.shape} has no array. This one is as wide, and",
        "# has more rows, of which it is not known which are meant:",
        f"#     {printable(table.array)} {table.array_shape}",
        f"# If it is this array without its first {rows}, add to the renames, and in a later step:",
        f"#     {printable(f'{array} = {variable}')}",
        "#     [step.slice]",
        f"#     {printable(f'{variable} = {part}')}",
    ]


def _fused(array: FusedArray) -> list[str]:
    count = f", {array.count} arrays" if array.count > 1 else ""
    lines = [
        f"# OPEN: {printable(array.array)} {array.shape}{count}: by its name it holds the",
        "# query, the key and the value, and neither the name nor a layer says how. Save these",
        "# lines as a rule file, with numbers for the words in capitals, and map again with it.",
        "# If it has one after the other:",
        *(f"#     {printable(line)}" for line in array.in_a_row),
    ]
    if array.by_head:
        lines.append("# If it has those of each head in turn:")
        lines += [f"#     {printable(line)}" for line in array.by_head]
    return lines


def _names(names: Iterable[str]) -> list[str]:
    return [f"#     {printable(name)}" for name in names]


def _globs(names: Sequence[str], kept: Iterable[str]) -> list[str]:
    """Globs for all arrays of the same last part, if no array that is kept has it."""
    others = {split_name(name)[1] for name in kept}
    found: dict[str, None] = {}
    for name in names:
        above, last = split_name(name)
        is_glob = bool(above) and last not in others and not set("*?[") & set(last)
        found[f"*{name[len(above)]}{last}" if is_glob else name] = None
    return list(found)
