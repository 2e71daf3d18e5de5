"""A layer of Keras that does more with its weights than to hold them, as a target sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from initreg import InitregError, TargetError, VariableSpec
from initreg_targets.frameworks import is_variable
from initreg_targets.keeping import PutBack, keep_attributes

Named = Callable[[Any], str]  # the name of a variable in the plan


class Part:
    """One such layer.

    Args:
        layer: the layer.
        path: its path in a ``.weights.h5`` file.
        owner: the path of the TextVectorization that it is a part of, None if it is in none.
    """

    def __init__(self, layer: Any, path: str, owner: str | None = None) -> None:
        self.layer = layer
        self.path = path
        self.owner = owner
        self.called = layer.name  # that of a TextVectorization, for what is a part of it
        self.models: list[Any] = []  # those that the layer is in, the innermost first

    def siblings(self, named: Named) -> tuple[str, ...]:
        """The names of the weights of the innermost model that the layer is in."""
        for model in self.models:
            found = dict.fromkeys(named(v) for v in model.weights if is_variable(v))
            if found:
                return tuple(found)
        return ()

    # --- for the plan ---------------------------------------------------------------------------

    def variables(self) -> Iterable[Any]:
        """Variables of the layer that Keras does not count among the weights of the model."""
        return ()

    def names(self) -> Iterable[tuple[str, Any]]:
        """What a ``.weights.h5`` file calls variables of the layer."""
        return ()

    def specs(self, named: Named) -> Iterable[VariableSpec]:
        """What the layer takes that is not in variables of its own."""
        return ()

    def not_needed(self, named: Named) -> Iterator[tuple[Any, str, tuple[str, ...]]]:
        """Variables that need no array: each with ``not_needed`` and ``not_needed_with`` of its
        spec."""
        yield from ()

    # --- for a model as a source ----------------------------------------------------------------

    def reads(self, name: str) -> Callable[[tuple[slice, ...] | None], Any] | None:
        """What reads what :meth:`take` takes under this name: a box of it, or all of it for None.
        None if the layer has nothing there that another one needs."""
        return None

    # --- for the restore ------------------------------------------------------------------------

    def takes(self, named: Named) -> Iterable[str]:
        """The names of what is given to :meth:`take`, rather than written into variables."""
        return ()

    def take(self, name: str, array: Any) -> list[str]:
        """Take an array. Returns the names of all that is written now."""
        raise NotImplementedError

    def finish(self, written: Callable[[Any], bool]) -> tuple[bool, list[str]]:
        """Bring the layer into the state that Keras's own loading leaves it in.

        Args:
            written: whether an array was written into a variable.

        Returns:
            Whether the layer now computes with other constants, so that functions that were traced
            before are out of date. And the names of what was taken before and is written now.
        """
        return False, []

    def keep(self) -> PutBack:
        """A function that brings the layer into the state that it has now, once its variables have
        their values again. Raises TargetError if it cannot."""
        return keep_attributes(self.layer)

    def call(self, what: Callable[..., Any], *args: Any) -> None:
        """Call code of the layer. Raises TargetError, which names the layer."""
        try:
            what(*args)
        except InitregError:
            raise
        except Exception as error:
            text = " ".join(str(error).split())[:500]
            raise TargetError(
                f"layer {self.layer.name!r} ({type(self.layer).__name__}) does not take what was "
                f"read for it: its {what.__name__}() raised {type(error).__name__}: {text}"
            ) from error


def own_variables(layer: Any) -> list[Any]:
    """The variables of the layer itself, without those of layers in it, in the order in which
    Keras saves them."""
    for names in (
        ("_trainable_variables", "_non_trainable_variables"),
        ("_trainable_weights", "_non_trainable_weights"),
    ):
        if hasattr(layer, names[0]):
            found = [v for name in names for v in getattr(layer, name)]
            return [v for v in found if is_variable(v)]
    return []


def place(path: str, key: str) -> str:
    """The name of a dataset in a ``.weights.h5`` file."""
    return f"{path}/vars/{key}" if path else f"vars/{key}"
