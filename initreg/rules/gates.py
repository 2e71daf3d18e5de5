"""Another order of the gates of a recurrent layer: blocks of equal size along one axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from initreg.errors import RuleError
from initreg.records import record
from initreg.text.wording import GATES, plural, shape_text

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Shape = tuple[int, ...]

# The orders in which libraries keep the gates. LSTM: input, forget, cell, output. GRU: update (z),
# reset, hidden. Sources: the docstrings of torch.nn.LSTM and GRU; keras/src/layers/rnn/lstm.py and
# gru.py; the operators LSTM and GRU of ONNX (W[iofc], W[zrh]); rnn_cell_impl.py of TensorFlow 1 and
# its op LSTMBlockCell, which calls the cell j; cuDNN as keras/src/backend/tensorflow/rnn.py
# converts to it.
ORDERS = {
    "torch-lstm": "ifco",
    "keras-lstm": "ifco",
    "onnx-lstm": "iofc",
    "tf1-lstm": "icfo",
    "cudnn-lstm": "ifco",
    "torch-gru": "rzh",
    "keras-gru": "zrh",
    "onnx-gru": "zrh",
    "tf1-gru": "rz",
    "cudnn-gru": "rzh",
}
# Other letters for the same gates: those of PyTorch and of TensorFlow 1.
_SAME = str.maketrans({"g": "c", "j": "c", "n": "h", "u": "z"})


@record()
class Gates:
    """The blocks of an axis in another order.

    Args:
        axis: the axis.
        old: the gates in their order, one character each.
        new: the same ones, in the new order.
    """

    takes_apart: ClassVar[bool] = False
    axis: int
    old: str
    new: str

    def announce(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        if not -len(shape) <= self.axis < len(shape):
            raise ValueError(f"shape {shape_text(shape)} has no axis {self.axis}")
        length = shape[self.axis]
        if not length or length % len(self.old):
            raise ValueError(
                f"axis {self.axis} of shape {shape_text(shape)} has {plural(length, 'element')}, "
                f"not {plural(len(self.old), 'equal gate')} ({' '.join(self.old)})"
            )
        return shape, dtype

    def text(self, shape: Shape, dtype: str) -> str:
        # The same order is said, too: it answers the doubt whether the gates are in order.
        new = "" if self.old == self.new else f" as {' '.join(self.new)}"
        return f"{GATES} {' '.join(self.old)}{new} along axis {self.axis}"

    def part(self, ndim: int) -> None:
        return None

    def apply(self, array: Array, name: str) -> Array:
        import numpy as np

        if self.old == self.new:
            return array
        axis = self.axis % array.ndim
        blocks = np.split(array, len(self.old), axis)
        return np.concatenate([blocks[self.old.index(gate)] for gate in self.new], axis)


def gates(axis: int, old: str, new: str) -> Gates:
    """The change that orders gates.

    Args:
        axis: the axis along which they lie.
        old: their order: a name of :data:`ORDERS`, or a character for each gate.
        new: their new order.

    Raises:
        RuleError: these are not two orders of the same gates.
        TypeError: they are not texts.
    """
    before, after = _order(old), _order(new)
    if set(before) != set(after):
        before, after = before.translate(_SAME), after.translate(_SAME)
        _refuse_twice(before, old)
        _refuse_twice(after, new)
    if set(before) != set(after):
        raise RuleError(
            f"{old!r} has the gates {' '.join(before)}, and {new!r} {' '.join(after)}. Both must "
            "have the same ones"
        )
    return Gates(axis, before, after)


def _order(given: str) -> str:
    if not isinstance(given, str):
        raise TypeError
    if given in ORDERS:
        return ORDERS[given]
    cells = [name for name in ORDERS if name.startswith(f"{given}-")]
    if cells and given:
        raise RuleError(f"{given!r}: of which cell? Give {' or '.join(cells)}")
    order = "".join(given.split())
    if not order.isalnum() or len(order) > _MOST:
        raise RuleError(
            f"{given!r} is not an order of gates. There are {', '.join(ORDERS)}, and letters, as "
            "in 'i f c o'"
        )
    _refuse_twice(order, given)
    return order


def _refuse_twice(order: str, given: str) -> None:
    """Raise RuleError if a gate is there twice.

    Args:
        order: the gates.
        given: the order as the user typed it.
    """
    twice = next((gate for gate in order if order.count(gate) > 1), None)
    if twice is not None:
        also = "" if given.count(twice) > 1 else ", by another letter"
        raise RuleError(f"{given!r} has the gate {twice!r} twice{also}")


_MOST = 26  # gates; more are a misspelt name
