"""The verb ``help``."""

from __future__ import annotations

import argparse

from initreg.cli.helping import TOPICS, help_text, topic_text
from initreg.cli.printing import show_json, write
from initreg.errors import InitregError, printable

SUMMARY = "Show the help of a verb, the rules, or the options of opening."
EXAMPLES = (
    ("initreg help ls", "the same as 'initreg ls --help'"),
    ("initreg help ls --all", "with every rule"),
    ("initreg help rules", "all rules, in their order"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    topics = ", ".join(f"'{topic}'" for topic in TOPICS)
    parser.add_argument(
        "topic", metavar="VERB", nargs="?", help=f"a verb, or {topics} (default: all verbs)"
    )
    parser.add_argument("--all", action="store_true", help="explain rare options, too")


def run(options: argparse.Namespace) -> int:
    """Run the verb. Returns 0. Raises InitregError for a verb that does not exist."""
    top, topic = options.top, options.topic
    if topic is None:
        text = help_text(top)
    elif topic in top.verbs:
        text = help_text(top.verbs[topic], everything=options.all)
    elif topic in TOPICS:
        text = topic_text(topic, top.verbs.values())
    else:
        from initreg.text.near import did_you_mean

        known = [*top.verbs, *TOPICS]
        near = did_you_mean(topic, known) or " 'initreg help' shows all verbs"
        raise InitregError(f"{topic!r} is neither a verb nor a topic.{near}")
    if options.json:
        show_json({"topic": topic, "text": text})
    else:
        write(printable(text, keep="\n\x1b"))
    return 0
