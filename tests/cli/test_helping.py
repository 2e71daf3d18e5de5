"""The help: short, grouped, with examples, within 80 columns, and errors that show their verb."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from initreg import cli
from initreg.cli import VERBS, main
from initreg.cli.helping import GROUPS, TOPICS

NAMES = VERBS


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a terminal of 80 columns, without colours."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")


def helped(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["help", *arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("verb", NAMES)
def test_the_help_of_a_verb_is_short(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """80 columns and 76 lines; arguments first, then its own options, and examples at the end."""
    text = helped(capsys, verb)
    assert max(map(len, text.splitlines())) <= 80
    assert len(text.splitlines()) <= 76
    headings = [line for line in text.splitlines() if line and line[0].isalpha()]
    order = [h for h in headings if h in ("arguments", "options", *TOPICS, "examples")]
    assert order == sorted(
        order, key=("arguments", "options", "saving", "rules", "opening", "examples").index
    )
    assert "examples" in order
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == text


@pytest.mark.parametrize("verb", NAMES)
def test_examples_can_be_parsed(verb: str) -> None:
    """Each example is a command of its verb, whose options exist."""
    top = cli.parser()
    assert top.verbs[verb].examples
    for command, what in top.verbs[verb].examples:
        program, *arguments = shlex.split(command)
        assert (program, arguments[0]) == ("initreg", verb)
        assert what
        top.parse_args(arguments)


def test_no_option_is_lost() -> None:
    """What the short help leaves out, it names, and the long help and the topics explain it."""
    for verb, parser in cli.parser().verbs.items():
        text = parser.format_help()
        for action in parser._actions:
            for name in action.option_strings[-1:]:
                assert name in text, (verb, name)


@pytest.mark.parametrize("topic", TOPICS)
def test_topics(topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every option of the group is explained, each on a line of its own."""
    text = helped(capsys, topic)
    parser = cli.parser().verbs["convert"]
    [group] = [g for g in parser._action_groups if g.title == topic]
    for action in group._group_actions:
        assert f"\n  {action.option_strings[-1]}" in text
    assert re.search(r"These options are for the verbs [^.]*convert", text)


def test_the_help_of_all_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    """Each verb is in one group, on one line; no arguments at all print the same, with code 2."""
    text = helped(capsys)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    for verb in NAMES:
        assert sum(line.startswith(f"  {verb} ") for line in lines) == 1
        assert sum(verb in names for names in GROUPS.values()) == 1
    assert main([]) == 2
    assert capsys.readouterr().out == text


def test_help_with_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """--all explains what the short help only names."""
    assert "\n  --permute GLOB=AXES " not in helped(capsys, "ls")
    assert "\n  --permute GLOB=AXES " in helped(capsys, "ls", "--all")


def test_help_of_what_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and the verb that was meant."""
    assert main(["help", "convrt"]) == 2
    said = capsys.readouterr().err
    assert said == "initreg: 'convrt' is neither a verb nor a topic. Did you mean convert?\n"


def test_help_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """As every verb, help has --json."""
    assert main(["help", "rules", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["topic"] == "rules"
    assert "--transpose GLOB" in answer["text"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plna", "a"], "initreg: there is no verb 'plna'. Did you mean plan?\n"),
        (["xyzzy"], "initreg: there is no verb 'xyzzy'\n"),
        (["ls", "a", "--frmat", "npz"], "there is no option --frmat. Did you mean --format?\n"),
        (["ls", "a", "--frmat=npz"], "there is no option --frmat. Did you mean --format?\n"),
        (["ls", "a", "--reverse", "b"], "initreg ls: there is no option --reverse. convert has it"),
        (["verify", "a", "--rtol=1"], "no option --rtol. diff, report and map have it\n"),
        (["--json", "ls", "a"], "no option --json before the verb. Options of a verb come after "),
        (["verify", "a", "b"], "initreg verify: too many arguments: b\n"),
        (["plan", "a"], "initreg plan: the following arguments are required: --onto\n"),
        (["stats", "a", "--sort", "nomr"], "invalid choice: 'nomr'. Did you mean norm? Choose "),
    ],
)
def test_errors_of_usage(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong, what may have been meant, and the usage of that verb in one line."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    first, usage, more = captured.err.splitlines()
    verb = arguments[0] if arguments[0] in NAMES else ""
    prog = f"initreg {verb}".strip()
    assert first.startswith(f"{prog}: ")
    assert usage.startswith(f"usage: {prog} ")
    assert more.startswith(f"'{prog} --help' shows ")


def test_the_usage_is_whole_in_every_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Several sources and options that are needed are shown, however far parsing has come."""
    for arguments in (["plan"], ["plan", "a", "--nope", "--onto", "b"], ["plan", "--by"]):
        with pytest.raises(SystemExit):
            main(arguments)
        said = capsys.readouterr().err
        assert "usage: initreg plan [OPTION]... SOURCE... --onto TARGET\n" in said


def test_options_between_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Options may be anywhere after the verb, and after -- there are none."""
    a, b, out = (str(tmp_path / name) for name in ("a.npz", "b.npz", "out.npz"))
    np.savez(a, x=np.ones(1), y=np.ones(1))
    np.savez(b, z=np.ones(1))
    assert main(["convert", a, "--drop", "y", b, out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["arrays"] == 2
    assert main(["convert", "--drop", "x", "--force", "--", a, b, out]) == 0
    assert sorted(np.load(out).files) == ["y", "z"]


def test_an_array_that_was_meant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A rule that matches nothing shows the names or the globs that look like it."""
    np.savez(tmp_path / "m.npz", **{"encoder/layer_0/kernel": np.ones(1), "head/bias": np.ones(1)})
    for typed, meant in (
        ("hed/*", "head/*"),
        ("Head/Bias", "head/bias"),
        ("encoder/layer_0/kernl", "encoder/layer_0/kernel"),
    ):
        assert main(["ls", str(tmp_path / "m.npz"), "--keep", typed]) == 2
        assert f"Similar names: '{meant}'" in capsys.readouterr().err
