"""The options of opening and the rules, on the command line: the keywords of SmartInit."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from initreg.cli.parser import FOR, For
from initreg.cli.rule_values import (
    PARSERS,
    dtypes_of,
    number_of,
    numbers,
    scaled,
    split_at,
    taken,
)
from initreg.errors import InitregError, RuleError, SourceNotFound
from initreg.plugin.hookspecs import OpenOptions

if TYPE_CHECKING:
    from initreg.api.opening_options import OpeningOptions
    from initreg.rules.keywords import RuleOptions

_OPENING = ("format", "allow_pickle", "native", "max_inflation")


def add_sources(parser: argparse.ArgumentParser) -> None:
    """Add the sources of a chain."""
    parser.add_argument(
        "sources",
        metavar="SOURCE",
        nargs="+",
        help="a file, a folder or the prefix of a checkpoint, or code that builds a model, as "
        "module:callable or file.py:callable; if several have a name, the last one wins",
    )


def sources_of(options: argparse.Namespace) -> list[Any]:
    """The sources of :func:`add_sources`, those with rules of their own as SmartInits.

    Raises:
        SourceNotFound: one is empty.
        InitregError: a rule file cannot be read, or is wrong.
    """
    return sources_with_rules(options, options.sources)


def sources_with_rules(options: argparse.Namespace, sources: Sequence[str]) -> list[Any]:
    """Sources as they were typed, those with rules or options of their own as SmartInits.

    Their own rules are ``--rules SOURCE=FILE``, and what follows ``--for SOURCE``.

    Args:
        options: the options that were typed.
        sources: all sources, whatever they are for.

    Raises:
        SourceNotFound: one is empty.
        InitregError: a rule file cannot be read, or is wrong, or --for names something else.
    """
    if "" in sources:
        raise SourceNotFound("'': the path is empty")
    _, own = _rule_files(options, sources)
    scoped: Mapping[str, argparse.Namespace] = getattr(options, FOR, {})
    for source in scoped:
        if source not in sources:
            raise RuleError(
                f"--for {source}: this is not one of the sources. They are {', '.join(sources)}"
            )
    return [
        _with_rules(options, source, own.get(source, ()), scoped.get(source)) for source in sources
    ]


def _with_rules(
    options: argparse.Namespace,
    source: str,
    files: Sequence[str],
    scoped: argparse.Namespace | None,
) -> Any:
    """One source, as a SmartInit if it has rules or options of its own. What is named as code is
    what the code builds: a model."""
    given: Any = source
    if ":" in source and "://" not in source:
        from initreg.cli.onto_option import built, is_code

        if is_code(source):
            given = built(source)
    if not files and scoped is None:
        return given
    from initreg.api.smart_init import SmartInit
    from initreg.storage.locating import takes_options

    opening: dict[str, Any] = {**opening_of(options)}
    if not takes_options(source):
        opening.pop("storage_options", None)
    rules: dict[str, Any] = {}
    if scoped is not None:
        opening |= opening_of(scoped)
        rules = {**rules_of(scoped)}
    rules["rules"] = [*files, *rules.get("rules", ())]
    return SmartInit(given, **opening, **{name: rule for name, rule in rules.items() if rule})


def add_for(parser: argparse.ArgumentParser, rules: argparse._ArgumentGroup) -> None:
    """Add ``--for SOURCE``, after which rules and options of opening are for one source.

    Args:
        parser: a :class:`initreg.cli.parser.Parser` with the options of opening.
        rules: what :func:`add_rules` returned.
    """
    names = [*_OPENING, "storage_options", *(action.dest for action in rules._group_actions)]
    rules.add_argument(
        "--for",
        dest="for_source",
        action=For,
        options=names,
        metavar="SOURCE",
        help="what follows is for this source, up to the next --for",
    )


def _rule_files(
    options: argparse.Namespace, sources: Sequence[str] = ()
) -> tuple[list[str], dict[str, list[str]]]:
    """The rule files of all sources together, and those of single sources.

    Raises:
        RuleError: a text may be meant as either.
    """
    common: list[str] = []
    own: dict[str, list[str]] = {}
    for text in options.rules or ():
        cuts = {s: text[len(s) + 1 :] for s in sources if text.startswith(f"{s}=")}
        if not cuts:
            common.append(text)
            continue
        if len(cuts) > 1 or os.path.lexists(text):
            readings = [
                f"the rules {file} for the source {source}" for source, file in cuts.items()
            ]
            readings += [f"the rules {text} for all sources"] if os.path.lexists(text) else []
            raise RuleError(
                f"--rules {text} has several meanings: {', or '.join(readings)}. Write one of the "
                "paths in another way, such as ./PATH"
            )
        [(source, file)] = cuts.items()
        own.setdefault(source, []).append(file)
    return common, own


def add_opening(parser: argparse.ArgumentParser) -> None:
    """Add the options of opening. One that is not typed has the default of the functions."""
    group = parser.add_argument_group("opening", "How the sources are opened.")
    group.add_argument("--format", help="the format of the source, if the source does not show it")
    group.add_argument(
        "--allow-pickle",
        action="store_true",
        default=None,
        help="open a pickle, which can run any code; only for files that you made yourself",
    )
    group.add_argument(
        "--native",
        action="store_true",
        default=None,
        help="let a library in C read what initreg does not, such as rare filters of HDF5; only "
        "for files that you trust",
    )
    group.add_argument(
        "--max-inflation",
        type=float,
        metavar="TIMES",
        help="refuse packed arrays that unpack to more than this many times their size "
        f"(default: {OpenOptions().max_inflation:g})",
    )
    add_storage_options(group)


def add_storage_options(parser: argparse._ActionsContainer) -> None:
    """Add ``--storage-options``, which :func:`storage_options_of` reads."""
    parser.add_argument(
        "--storage-options",
        nargs=2,
        action="append",
        metavar=("NAME", "VALUE"),
        help="for a URL: what its file system is made with; fsspec also reads its configuration "
        "file and FSSPEC_* from the environment, which other users of the machine do not see",
    )


def opening_of(options: argparse.Namespace) -> OpeningOptions:
    """The options of :func:`add_opening` that were typed, as keywords."""
    typed = {name: getattr(options, name) for name in _OPENING}
    typed["storage_options"] = storage_options_of(options)
    return cast("OpeningOptions", {n: value for n, value in typed.items() if value is not None})


def storage_options_of(options: argparse.Namespace) -> dict[str, Any] | None:
    """What was typed for ``--storage-options``. None if nothing was."""
    if options.storage_options is None:
        return None
    return {name: number_of(value) for name, value in options.storage_options}


def add_rules(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the rules. Returns the group that they are in."""
    rules = parser.add_argument_group(
        "rules",
        "They are applied in this order. Those that take a GLOB, a name or a regex may be given "
        "several times. In a GLOB, * matches any run of characters.",
    )

    def add(option: str, metavar: Any, help: str, **more: Any) -> None:
        rules.add_argument(option, metavar=metavar, help=help, **more)

    files = "a rule file: for all sources together, or for one of them as it is typed here"
    add("--rules", "[SOURCE=]FILE", files, action="append")
    add("--keep", "GLOB", "keep only these arrays", action="append")
    add("--drop", "GLOB", "leave these arrays out", action="append")
    add("--strip-prefix", "PREFIX", "remove it from the names that have it")
    add("--rename", ("OLD", "NEW"), "rename one array", action="append", nargs=2)
    regex = ("REGEX", "REPLACEMENT")
    add("--rename-regex", regex, "rename as Python's re.sub does", action="append", nargs=2)
    add("--prefix", "PREFIX", "put this before every name")
    view = "take the bits of all raw bytes, or of some arrays, for a dtype: 'emb=bfloat16'"
    add("--view", "[GLOB=]DTYPE", view, action="append")
    scale = "multiply arrays: 'w=0.5', or by others: '*.w=*.scale', in blocks: '*.w=*.scale,128'"
    add("--scale", "NAME=NUMBER or NAME=OTHER[,BLOCK]", scale, action="append")
    fold = "fold a batch norm into the kernel and the bias of the layer before it"
    norm = "NAME=AXIS,EPSILON,BIAS,MEAN,VARIANCE[,GAMMA[,BETA]]"
    add("--fold-batch-norm", norm, fold, action="append")
    parts = "AXIS,NAME,..."
    sized = f"NAME={parts}[;SIZE,...]"
    split = "split an array: 'qkv=0,q,k,v', into parts of these sizes: 'qkv=0,q,k,v;8,4,4'"
    add("--split", sized, split, action="append")
    unstack = "take an array apart along an axis that is lost: 'w=0,layers.{i}.w'"
    add("--unstack", f"NAME={parts}", unstack, action="append")
    add("--add", "GLOB=NUMBER", "add a number: 'lstm/forget_bias=1'", action="append")
    add("--sum", "NAME=NAME,...", "add arrays up: 'bias=bias_ih,bias_hh'", action="append")
    add("--concat", sized, "put arrays together: 'qkv=0,q,k,v'", action="append")
    stack = "put arrays together along a new axis: 'w=0,layers.{i}.w'"
    add("--stack", f"NAME={parts}", stack, action="append")
    add("--transpose", "GLOB", "reverse the axes", action="append")
    add("--permute", "GLOB=AXES", "reorder the axes: 'conv*=2,3,1,0'", action="append")
    reshape = "give arrays another shape: 'query/kernel=768,12,-1'"
    add("--reshape", "GLOB=SHAPE", reshape, action="append")
    order = (
        "order the gates of an LSTM or GRU: 'lstm/*=0,onnx-lstm,keras-lstm' or 'lstm/*=0,iofc,ifco'"
    )
    add("--gates", "GLOB=AXIS,OLD,NEW", order, action="append")
    take = (
        "take elements of one axis: 'emb=0,3,1', or by vocabularies: 'emb=0,old.txt,new.txt,mean'"
    )
    add("--take", "GLOB=AXIS,INDEX,... or GLOB=AXIS,OLD,NEW[,FILL]", take, action="append")
    add(
        "--slice",
        "GLOB=AXIS,START,STOP",
        "take a slice of one axis, or of several: GLOB=START:STOP,START:STOP",
        action="append",
    )
    pad = "make one axis longer: 'emb=0,32000' or 'emb=0,32000,mean'"
    add("--pad", "GLOB=AXIS,LENGTH[,FILL]", pad, action="append")
    to = "cast all floats to a dtype, or some arrays: 'step=int32'"
    add("--cast", "[GLOB=]DTYPE", to, action="append")
    return rules


def rules_of(options: argparse.Namespace) -> RuleOptions:
    """The rules as keywords. Raises RuleError for one that cannot be parsed."""
    renames: list[Any] = []
    if options.rename:
        renames.append(exact := dict(options.rename))
        if len(exact) < len(options.rename):
            raise RuleError("--rename: a name is renamed twice. Give each OLD once")
    renames += [tuple(pair) for pair in options.rename_regex or ()]
    rules: dict[str, Any] = {
        "rules": _rule_files(options, getattr(options, "sources", ()))[0],
        "keep": options.keep,
        "drop": options.drop or (),
        "strip_prefix": options.strip_prefix,
        "rename": renames or None,
        "prefix": options.prefix,
        "transpose": options.transpose or (),
        "view": dtypes_of(options.view, "view"),
        "cast": dtypes_of(options.cast, "cast"),
    }
    for name, parse in PARSERS.items():
        given = getattr(options, name)
        rules[name] = {
            whole: parse(text) for whole, text in (split_at(each, name) for each in given or ())
        }
        if len(rules[name]) < len(given or ()):
            flag = name.replace("_", "-")
            raise RuleError(f"--{flag}: an array is given twice. Give each NAME once")
    rules["scale"] = {
        name: scaled(numbers(text))
        for name, text in (split_at(each, "scale") for each in options.scale or ())
    }
    rules["take"] = {
        glob: taken(numbers(text))
        for glob, text in (split_at(each, "take") for each in options.take or ())
    }
    rules["add"] = {
        glob: numbers(text)[0]
        for glob, text in (split_at(each, "add") for each in options.add or ())
    }
    for name in ("permute", "reshape", "gates", "slice", "pad"):
        given = getattr(options, name)
        rules[name] = {
            glob: text if name == "slice" and ":" in text else numbers(text)
            for glob, text in (split_at(each, name) for each in given or ())
        }
    return cast("RuleOptions", {name: rule for name, rule in rules.items() if rule})


def metadata_of(options: argparse.Namespace) -> dict[str, str] | None:
    """The metadata that was typed, None if there is none. Raises InitregError."""
    if not options.metadata:
        return None
    found: dict[str, str] = {}
    for text in options.metadata:
        key, equals, value = text.partition("=")
        if not equals:
            raise InitregError(
                f"--metadata {text}: give a key, '=' and a text, as in --metadata license=mit"
            )
        if found.get(key, value) != value:
            raise InitregError(
                f"--metadata: the key {key!r} is given twice: {found[key]!r} and {value!r}. Give "
                "it once"
            )
        found[key] = value
    return found


def follows(options: Mapping[str, Any], typed: Mapping[str, Any]) -> bool:
    """Whether these options, if they are added, are applied after those that are typed already."""
    from initreg.rules.options import ORDER

    last = max((ORDER.index(name) for name in typed if name != "rules"), default=-1)
    several = (
        "rename",
        "transpose",
        "permute",
        "reshape",
    )  # these may be given again, and are applied last
    return all(
        ORDER.index(name) > last
        or (ORDER.index(name) == last and name in several and not _is_exact(name, value))
        for name, value in options.items()
    )


def _is_exact(name: str, value: Any) -> bool:
    """Whether these are exact renames, which are applied before regular expressions."""
    return name == "rename" and isinstance(value, Mapping)
