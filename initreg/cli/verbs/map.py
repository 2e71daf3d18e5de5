"""The verb ``map``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from initreg.cli.flags import typed
from initreg.cli.options import add_opening, add_rules, opening_of, rules_of
from initreg.cli.printing import show, show_json
from initreg.errors import InitregError, TargetError, printable

if TYPE_CHECKING:
    from initreg.api.comparing import ComparedOutputs
    from initreg.bridge.mapped import Mapped

SUMMARY = "Derive rules that take another framework's weights to a target."
EXAMPLES = (
    ("initreg map torch.pt --onto model.py:build --output rules.toml", "write the rules"),
    ("initreg map torch.pt --onto model.py:build --check x.npz=y.npz", "compare outputs"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", metavar="SOURCE", help="a file, a folder or a checkpoint's prefix"
    )
    parser.add_argument(
        "--onto",
        metavar="TARGET",
        required=True,
        help="code that builds a model, as package.module:callable or file.py:callable, or a "
        "source, for its names and shapes",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="write the rules into this file (default: print them)",
    )
    parser.add_argument(
        "--check",
        metavar="INPUTS=OUTPUTS",
        help="restore the target with the rules, run it on the arrays of one file, and compare "
        "what it computes with those of another one: x.npz=y.npz. An array of the latter that is "
        "called like a layer is compared with its output",
    )
    parser.add_argument(
        "--rtol",
        metavar="PART",
        type=float,
        default=1e-3,
        help="how much a value may differ, as a part of the "
        "largest one of its output (default: %(default)g)",
    )
    parser.add_argument(
        "--atol",
        metavar="NUMBER",
        type=float,
        default=1e-4,
        help="how much it may differ in addition (default: %(default)g)",
    )
    add_opening(parser)
    add_rules(parser)


def run(options: argparse.Namespace) -> int:
    """Run the verb. Returns 0 if all variables have their array and what is checked is the same."""
    from initreg.api.mapping import map
    from initreg.cli.onto_option import target_of

    opening = opening_of(options)
    with ExitStack() as stack:
        target = target_of(options.onto, stack, **{**opening, "format": None})
        found = map(options.source, target, **opening, **rules_of(options))
        if options.output is not None:
            found.save(options.output)
        compared = _check(options, found, target) if options.check is not None else None
    if options.json:
        show_json(found.to_dict() | ({} if compared is None else {"check": compared.to_dict()}))
    else:
        if options.output is None:
            show(found.to_text().rstrip("\n"))
        print(printable(_verdict(options, found)), file=sys.stderr)
        if compared is not None:
            show(compared.to_text())
    return 0 if found.is_complete and (compared is None or compared.ok) else 1


def _verdict(options: argparse.Namespace, found: Mapped) -> str:
    text = f"{options.source}: {found.verdict}"
    if options.output is None:
        return text
    return f"{text}. To restore it: SmartInit({options.source!r}, rules={options.output!r})"


def _check(options: argparse.Namespace, found: Mapped, target: Any) -> ComparedOutputs:
    """Restore the target, and compare its outputs.

    Raises:
        InitregError: an option is wrong, a file cannot be read, or the target cannot be run.
    """
    import tempfile
    from pathlib import Path

    from initreg.api.comparing import compare_outputs
    from initreg.api.opening import load
    from initreg.api.smart_init import SmartInit
    from initreg.plugin.installed import default_registry

    given, equals, expected = options.check.rpartition("=")
    if not (given and equals and expected):
        raise InitregError(f"--check {options.check}: give two files, as in x.npz=y.npz")
    if found.open:
        raise InitregError(
            typed(
                f"{options.source}: {found.verdict}. Nothing was checked: answer the open "
                "questions in the rule file first, and give it to SmartInit"
            )
        )
    inputs, outputs = load(given), load(expected)
    adapter = default_registry().target(target)
    run_target = getattr(adapter, "outputs", None)
    if not callable(run_target):
        raise TargetError(f"{adapter.label} cannot be run. --check takes Keras models")
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder) / "rules.toml"
        found.save(rules)
        SmartInit(options.source, rules=rules, **opening_of(options)).init(target)
    whole = run_target(inputs, [])[""]
    named = dict(whole) if isinstance(whole, Mapping) else {}  # the outputs of the model
    layers = [name for name in outputs if name not in (named or _WHOLE)]
    computed: dict[str, Any] = {}
    try:
        computed = dict(run_target(inputs, layers)) if layers else {}
    except TargetError:
        if named or len(outputs) != 1:
            raise
        layers = []  # one array that is not called like a layer is the output of the whole model
    computed.pop("", None)
    for name in outputs:
        if name not in layers:
            computed[name] = named.get(name, whole)
    return compare_outputs(computed, outputs, rtol=options.rtol, atol=options.atol)


_WHOLE = ("output", "outputs", "arr_0")  # what the output of the whole model may be called
