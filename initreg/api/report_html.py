"""The page of a report: one file of HTML, with its own style and script."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from initreg import __version__
from initreg.api.diffing import Diff
from initreg.api.layer_diffs import ArrayDiff
from initreg.api.reported import ReportedArray, ReportedSource
from initreg.arrays.heat_maps import HeatMap
from initreg.arrays.statistics import Statistics
from initreg.errors import one_line
from initreg.plan.html import sections_html
from initreg.plan.plan import Plan
from initreg.plan.text import heading
from initreg.text.markup import folding, table, text
from initreg.text.wording import plural, printable, shape_text, size_text

_FOLDER = Path(__file__).with_name("report_page")
_MOST = 20  # arrays in the table of differences; the tree has all of them
_DIGITS = 6  # of a figure, of which three are shown


class _Report(NamedTuple):
    sources: Sequence[ReportedSource]
    arrays: Sequence[ReportedArray]
    diff: Diff | None
    plan: Plan | None


def page(
    sources: Sequence[ReportedSource],
    arrays: Sequence[ReportedArray],
    diff: Diff | None,
    plan: Plan | None,
) -> str:
    """The page of a report, which has the fields of :class:`initreg.Report`.

    It runs its own script and has its own style, and nothing else: a Content-Security-Policy names
    both by their digests, and forbids all requests. So a name that would be markup, even if it were
    not escaped, could not do anything.
    """
    report = _Report(sources, arrays, diff, plan)
    style, script = (
        (_FOLDER / name).read_text("utf-8").strip() + "\n" for name in ("page.css", "page.js")
    )
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"style-src {_digest(style)}; script-src {_digest(script)}"
    )
    names = [one_line(printable(each.label)) for each in report.sources]
    found = Template((_FOLDER / "page.html").read_text("utf-8")).substitute(
        version=text(__version__),
        policy=policy,
        title=text(" and ".join(name.rpartition("/")[2] or name for name in names)),
        style=style,
        script=script,
        header="\n".join(_header(report)),
        sections="\n".join(_sections(report)),
        metadata="\n".join(_metadata_sections(report)),
        table=_table(report),
        data=script_text(_data(report)),
    )
    # Half of a character cannot be encoded. `printable` has escaped those in names.
    return found.encode("utf-8", "backslashreplace").decode()


def _digest(content: str) -> str:
    """Source: W3C, Content Security Policy Level 3, hash-source."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def script_text(data: Any) -> str:
    """Data as JSON that may stand in a script element.

    In ASCII, and without ``<``, ``>`` and ``&``, so that no text in it ends the element or begins a
    comment. Source: HTML, "Restrictions for contents of script elements".

    >>> script_text("</script>")
    '"\\\\u003c/script\\\\u003e"'
    """
    found = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        found = found.replace(character, f"\\u{ord(character):04x}")
    return found


def _data(report: _Report) -> dict[str, Any]:
    """What the script shows. Names are as they can be printed."""
    return {
        "sources": [printable(each.label) for each in report.sources],
        "arrays": [_array(each) for each in report.arrays],
    }


def _array(each: ReportedArray) -> dict[str, Any]:
    found = {
        "values": _statistics(each.values),
        "before": _statistics(each.before),
        "map": _map(each.heat_map),
        "changeMap": _map(each.difference_map),
        "why": printable(each.why),
        "difference": _difference(each.difference),
        "plan": each.plan,
    }
    return {
        "name": printable(each.name),
        "shape": list(each.shape),
        "dtype": printable(each.dtype),
        "nbytes": each.nbytes,
        **{name: value for name, value in found.items() if value},
    }


def _statistics(values: Statistics | None) -> dict[str, Any] | None:
    if values is None:
        return None
    return {name: _short(each) for name, each in values.to_dict().items()}


def _map(found: HeatMap | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {name: _short(each) for name, each in found.to_dict().items()}


def _difference(found: ArrayDiff | None) -> dict[str, Any] | None:
    if found is None:
        return None
    known: dict[str, Any] = {"kind": found.kind, "array": printable(found.array)}
    values = found.values
    if values is None:
        return {**known, "note": printable(found.note())}
    return {
        **known,
        "largest": _short(values.largest),
        "mean": _short(values.mean),
        "relative": _short(values.largest_relative),
        "cosine": values.cosine,
        "beyond": values.beyond,
        "count": values.count,
    }


def _short(value: Any) -> Any:
    """A figure with few digits. What is not finite is a text, since JSON has no number for it."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else str(value)


# --- what is there without the script -----------------------------------------------------------


def _header(report: _Report) -> Iterator[str]:
    if report.plan is not None:
        yield _verdict(heading(report.plan), "good" if report.plan.ok else "bad")
    yield f"<h1>{' → '.join(_title(each) for each in report.sources)}</h1>"
    if report.diff is not None:
        yield _verdict(report.diff.summary, "good" if report.diff.is_same else "odd")
    yield '<div class="sources">'
    for letter, source in zip("AB", report.sources, strict=False):
        name = f'<span class="letter">{letter}</span>' if len(report.sources) > 1 else ""
        yield f'<div class="source">{name}<div><code>{text(source.label)}</code> '
        yield f'<span class="facts">{_facts(source)}</span></div></div>'
    yield "</div>"


def _verdict(what: str, tone: str) -> str:
    return f'<p class="verdict {tone}">{text(what)}</p>'


def _title(source: ReportedSource) -> str:
    name = source.label.rstrip("/").rpartition("/")[2] if "+" not in source.label else source.label
    return text(name or source.label)


def _facts(source: ReportedSource) -> str:
    known = (
        source.format,
        plural(source.arrays, "array"),
        plural(source.numbers, "number"),
        size_text(source.nbytes),
    )
    return " ".join(f"<span>{text(each)}</span>" for each in known)


def _sections(report: _Report) -> Iterator[str]:
    if report.plan is not None:
        yield _section("plan", "Plan", _plan(report.plan))
    if report.diff is not None and not report.diff.is_same:
        yield _section("differences", "Differences", _differences(report.diff))


def _metadata_sections(report: _Report) -> Iterator[str]:
    for letter, source in zip("AB", report.sources, strict=False):
        if source.metadata:
            of = f" of {letter}" if len(report.sources) > 1 else ""
            yield _section(f"metadata{letter}", f"Metadata{of}", _metadata(source.metadata))


def _section(name: str, title: str, body: str) -> str:
    return (
        f'<section id="{name}" aria-labelledby="{name}-title">'
        f'<h2 id="{name}-title">{title}</h2>{body}</section>'
    )


def _plan(plan: Plan) -> str:
    return "".join(sections_html(plan))


def _differences(diff: Diff) -> str:
    groups = dict(diff.groups())
    changed = groups.pop("different", [])
    rows = []
    for each in changed[:_MOST]:
        values = each.values
        assert values is not None
        rows.append(
            (
                each.name,
                *(_figure(f) for f in (values.largest, values.mean, values.largest_relative)),
                "" if values.cosine is None else f"{values.cosine:.6f}",
                f"{values.beyond:,} of {values.count:,}",
            )
        )
    head = ("Name", "Largest", "Mean", "Relative", "Cosine", "Values")
    more = len(changed) - _MOST
    last = f"and {plural(more, 'array')} more, which are below" if more > 0 else ""
    found = _scroll(table(head, rows, range(1, 6), last)) if rows else ""
    for what, others in groups.items():
        if not others[0].is_same:
            lines = [(each.name, each.note()) for each in others[: 10 * _MOST]]
            more = len(others) - len(lines)
            last = f"and {plural(more, 'array')} more, which are below" if more else ""
            title = f"{plural(len(others), 'array')} {what}"
            found += folding(title, table((), lines, last=last), is_open=len(others) <= _MOST)
    return (f"<p>{text(diff.how)}</p>" if diff.how else "") + found


def _metadata(metadata: Mapping[str, str]) -> str:
    lines = [
        (key, value if len(value) <= 400 else f"{value[:400]} ...")
        for key, value in metadata.items()
    ]
    more = len(lines) - 10 * _MOST
    last = f"and {plural(more, 'key')} more" if more > 0 else ""
    return folding(plural(len(lines), "key"), table((), lines[: 10 * _MOST], last=last))


def _table(report: _Report) -> str:
    """All arrays in a plain table."""
    rows = [
        (
            each.name,
            shape_text(each.shape),
            each.dtype,
            size_text(each.nbytes),
            *_figures(each.values),
            each.difference.kind if each.difference else "",
        )
        for each in report.arrays
    ]
    head = ("Name", "Shape", "Type", "Size", "Mean", "Std", "Min", "Max", "NaN", "Inf", "")
    return _scroll(table(head, rows, range(3, 10)))


def _scroll(found: str) -> str:
    return f'<div class="scroll">{found}</div>'


def _figures(values: Statistics | None) -> tuple[str, ...]:
    if values is None:
        return ("",) * 6
    known = (values.mean, values.std, values.min, values.max)
    return (*map(_figure, known), f"{values.nan:,}", f"{values.inf:,}")


def _figure(value: float | None) -> str:
    """A figure of three digits, as the script writes it: 2000 rather than 2e+03."""
    if value is None:
        return ""
    short = float(f"{value:.3g}")
    return f"{short:.6g}" if short == 0 or 1e-4 <= abs(short) < 1e6 else f"{value:.3g}"
