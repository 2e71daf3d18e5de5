"""Steps: options that are applied together. A rule file has one or several of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from initreg.errors import RuleError
from initreg.option_spelling import said, spell_options
from initreg.records import fresh, record
from initreg.rules.rename_rules import is_pair
from initreg.rules.rule import Outcome, Rule

if TYPE_CHECKING:
    from initreg.rules.toml_lines import Path


@record(hidden=("lines",))
class Step:
    """Options that are applied in the order of :data:`initreg.rules.options.ORDER`.

    Args:
        options: their values, as :func:`initreg.rules.options.checked` returns them.
        inverse: the options that undo the step, None if the user did not say them.
        file: the rule file that they are in, "" if they are keywords of a call.
        lines: the line of each part of the file.
        at: where the options are in the file.
        is_reversed: whether they undo those in the file.
    """

    options: Mapping[str, Any]
    inverse: Mapping[str, Any] | None = None
    file: str = ""
    lines: Mapping[Path, int] = fresh(factory=dict)
    at: Path = ()
    is_reversed: bool = False

    def rules(self) -> Iterator[Rule]:
        """The rules, in the order in which they are applied.

        Raises:
            RuleError: an option has a value that it cannot have.
        """
        from initreg.rules.options import rules_of  # not for whoever only lists arrays

        for option, value in self.options.items():
            try:
                made = list(rules_of(option, value))
            except RuleError as error:
                if not self.file:
                    raise
                raise self.told(error, option, value) from error.__cause__
            for rule in made:
                yield (
                    _Located(rule, self, option, self._places(option, value)) if self.file else rule
                )

    def where(self, *path: str | int) -> str:
        """The file, and the line of a part of the step."""
        found = where(self.file, self.lines, (*self.at, *path))
        return f"{found}, in reverse" if self.is_reversed else found

    def _places(self, option: str, value: Any) -> dict[str, str]:
        """What each clause is called: where it is, and how it is typed there."""
        from initreg.rules.options import clauses_of
        from initreg.rules.writing import spelt

        return {
            clause: f"{self.where(option, *path)}: {spell_options(clause, spelt)}"
            for path, part in parts_of(option, value)
            for clause in clauses_of(option, part)
        }

    def told(self, error: RuleError, option: str, value: Any) -> RuleError:
        """An error about an option, which says where it is."""
        from initreg.rules.options import clauses_of
        from initreg.rules.writing import spelt

        message = said(error)
        path: Path = ()
        for each, part in parts_of(option, value):
            try:
                found = clauses_of(option, part)
            except RuleError as wrong:
                found = [said(wrong)]
            if any(message.startswith(str(clause)) for clause in found):
                path = each
        return RuleError(f"{self.where(option, *path)}: {spell_options(message, spelt)}")


def where(file: str, lines: Mapping[Path, int], path: Path) -> str:
    """The file, and the line of the longest part of a path that has one."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return f"{file}, line {lines[path[:length]]}"
    return file


def parts_of(option: str, value: Any) -> Iterator[tuple[Path, Any]]:
    """The parts of an option's value that are clauses of their own.

    Args:
        option: its name.
        value: its value.

    Yields:
        Where each part is in the value, and a value that has only this part.

    >>> list(parts_of("drop", ["a", "b"]))
    [((0,), 'a'), ((1,), 'b')]
    """
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield (key,), {key: each}
    elif isinstance(value, list) and not (option == "rename" and is_pair(value)):
        for index, each in enumerate(value):
            if isinstance(each, Mapping):
                for path, part in parts_of(option, each):
                    yield (index, *path), part
            else:
                yield (index,), each
    else:
        yield (), value


class _Located:
    """A rule from a file. Its clauses, and its errors, say where it is."""

    def __init__(self, rule: Rule, step: Step, option: str, places: Mapping[str, str]) -> None:
        self._rule = rule
        self._step = step
        self._option = option
        self._places = places
        self.clauses: Sequence[str] = [places[clause] for clause in rule.clauses]

    def apply(self, outcome: Outcome) -> None:
        before, outcome.touched = outcome.touched, set()
        try:
            self._rule.apply(outcome)
        except RuleError as error:
            raise self._step.told(
                error, self._option, self._step.options[self._option]
            ) from error.__cause__
        finally:
            before.update(self._places[clause] for clause in outcome.touched)
            outcome.touched = before
