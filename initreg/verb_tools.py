"""What a verb of the command line is made with, for plugins that add one.

A verb that opens sources takes the same options as those of initreg, spelt in the same way:

>>> def add_arguments(parser):
...     add_sources(parser)
...     add_opening(parser)
...     add_rules(parser)
>>> def run(options):
...     arrays = initreg.load(sources_of(options), **opening_of(options), **rules_of(options))
...     show_json(list(arrays)) if options.json else show("\\n".join(arrays))

Names that come from files are printed with :func:`show`, which escapes control characters.
"""

from initreg.cli.options import (
    add_opening,
    add_rules,
    add_sources,
    opening_of,
    rules_of,
    sources_of,
)
from initreg.cli.printing import show, show_json

__all__ = [
    "add_opening",
    "add_rules",
    "add_sources",
    "opening_of",
    "rules_of",
    "show",
    "show_json",
    "sources_of",
]
