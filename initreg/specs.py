"""Arrays and variables without their values: names, shapes, dtypes, and where the bytes are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from initreg import dtypes
from initreg.records import record
from initreg.state_specs import OptimizerSpec as OptimizerSpec
from initreg.state_specs import StateSpec as StateSpec

if TYPE_CHECKING:
    import numpy as np

    from initreg.store_paths import FilePath


ORDER = "#"  # what a place begins with that is a position in an order
# What the place of a variable begins with that is its position among the weights of its model, in
# the order in which the framework itself lists them: "#weights/3 of 8".
WEIGHTS = "#weights/"


class Place(str):
    """A name that says where an array was in the structure that was saved, not what it was called.

    It is a path of attributes, or, if it begins with ``#``, a position in an order. A format puts
    places among the aliases of an array. If the primary name of an array is its place, it is among
    them, too. All other names are those that somebody gave.

    >>> Place("encoder/kernel"), Place("#layer 0 of 3, weight 1 of 2")
    ('encoder/kernel', '#layer 0 of 3, weight 1 of 2')
    """

    __slots__ = ()


class Automatic(str):
    """A name that a framework made up, such as ``dense_4/kernel``.

    The number counts the layers that a process made, so that equal names prove nothing. A format
    that recognises such names puts them among the aliases of an array, also if it is the primary
    name.
    """

    __slots__ = ()


class ArrayLike(Protocol):
    """What a format may return for an array instead of an extent: an array of numpy, h5py, ..."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Any: ...
    def __array__(self) -> np.ndarray[Any, Any]: ...


@record()
class Extent:
    """Where the bytes of one array are.

    Args:
        file: the file that they are in.
        offset: the position of the first byte in the file.
        length: how many bytes are stored there, packed if there is a codec.
        shape: the shape of the array.
        dtype: a name as in :mod:`initreg.dtypes`, or numpy's type string if the bytes are
            big-endian: ``">f4"``.
        order: ``"C"`` or ``"F"``, as in numpy.
        skip: how many bytes come before those of the array, after unpacking. A zip member begins
            with the header of an ``.npy`` file, for instance.
        codec: None if the bytes are not packed, or how a zip member packs them: ``"deflate"`` for
            a raw deflate stream (RFC 1951), ``"bzip2"``, or ``"lzma"`` with the header that
            PKWARE's APPNOTE describes (5.8.8).
        checksum: ``("crc32", value)`` as in a zip member, or ``("crc32c", value)``, unmasked. It
            is of all unpacked bytes, including the skipped ones.
        aliases: other names of the array. Some may be a :class:`Place`.
        state: what it is in the state of an optimizer, None for any other array.
        role: what it is in its layer, in Keras's words, if its names do not say it and the file
            does: ``"gamma"`` for ``layers/batch_normalization/vars/0``. "" if it is not recorded.

    >>> Extent(Path("m.bin"), 128, 24, (2, 3), "float32")  # doctest: +SKIP
    """

    file: FilePath
    offset: int
    length: int
    shape: tuple[int, ...]
    dtype: str
    order: str = "C"
    skip: int = 0
    codec: str | None = None
    checksum: tuple[str, int] | None = None
    aliases: tuple[str, ...] = ()
    state: StateSpec | None = None
    role: str = ""


@record()
class SlicedExtent:
    """An array that is stored in slices, each in an extent of its own: a partitioned variable.

    Args:
        shape: the shape of the whole array.
        dtype: as for :class:`Extent`, and the same in all slices.
        slices: for each slice, the index of its first element on every axis, and its extent.
            Together they cover the array without overlapping.
        aliases: other names of the array. Some may be a :class:`Place`.
        state: as for :class:`Extent`.
    """

    shape: tuple[int, ...]
    dtype: str
    slices: tuple[tuple[tuple[int, ...], Extent], ...]
    aliases: tuple[str, ...] = ()
    state: StateSpec | None = None


class Codec(NamedTuple):
    """One step of how the chunks of a :class:`ChunkedExtent` were packed.

    Args:
        name: ``"zlib"`` (RFC 1950), ``"shuffle"`` (first bytes first; the size of an element is its
            value), ``"fletcher32"`` (a checksum at the end), ``"lzf"`` or ``"scale-offset"``.
        values: its parameters.

    >>> Codec("shuffle", (4,))
    Codec(name='shuffle', values=(4,))
    """

    name: str
    values: tuple[int, ...] = ()


class Chunk(NamedTuple):
    """One chunk of a :class:`ChunkedExtent`.

    Args:
        at: its place in the grid of chunks, on every axis.
        offset: the position of its first byte in the file.
        length: how many bytes are stored there.
        left_out: the codecs that were not applied to it: bit 0 for the first one, and so on.
    """

    at: tuple[int, ...]
    offset: int
    length: int
    left_out: int = 0


@record()
class ChunkedExtent:
    """An array that is stored in chunks of one shape, each packed on its own.

    Args:
        file: the file that they are in.
        shape: the shape of the array.
        dtype: as for :class:`Extent`.
        chunk: the shape of a chunk. The last chunks of an axis may reach beyond the array. They are
            stored in full, and what is beyond the array is ignored.
        chunks: the chunks that are stored, in any order.
        fill: the bytes of one element, which all elements have whose chunk is not stored.
        codecs: how a chunk was packed, in the order of packing.
        aliases: other names of the array. Some may be a :class:`Place`.
        state: as for :class:`Extent`.
        role: as for :class:`Extent`.
    """

    file: FilePath
    shape: tuple[int, ...]
    dtype: str
    chunk: tuple[int, ...]
    chunks: tuple[Chunk, ...]
    fill: bytes
    codecs: tuple[Codec, ...] = ()
    aliases: tuple[str, ...] = ()
    state: StateSpec | None = None
    role: str = ""

    @property
    def offset(self) -> int:
        """The position of the first chunk in the file."""
        return min((chunk.offset for chunk in self.chunks), default=0)


@record()
class OpaqueExtent:
    """An array of a dtype that numpy does not have, such as one of 4 bits.

    It is listed. Its bytes can be verified, and copied into another file of its format, and its
    values cannot be read.

    Args:
        file: the file that its bytes are in.
        offset: the position of the first byte in the file.
        length: how many bytes it has.
        shape: the shape of the array.
        dtype: what its format calls the dtype. It is not the name of a dtype of numpy.
        reason: what reading its values is to raise: the file, the array, why not, and what to do.
        aliases: other names of the array. Some may be a :class:`Place`.
    """

    file: FilePath
    offset: int
    length: int
    shape: tuple[int, ...]
    dtype: str
    reason: str
    aliases: tuple[str, ...] = ()


@record()
class ArraySpec:
    """An array of a source, without its values.

    Args:
        name: the primary name, normalised.
        shape: the shape of the array.
        dtype: a name as in :mod:`initreg.dtypes`.
        aliases: other names of the array.
        origin: the name in the source, which differs from ``name`` if a rule renamed the array.
        changes: what rules do to the values, in words.
        places: those of all its names that are a :class:`Place`. Positions in an order are here
            alone, and not among the aliases.
        automatic: those of all its names that are :class:`Automatic`.
        axes: the order in which rules put its axes, None if no rule did.
        state: what it is in the state of an optimizer, None for any other array.
        opaque: for an array whose values cannot be read, but its bytes: how many they are.
        unreadable: why the array is listed although it cannot be read, in words. "" if it can.
        made_of: the names in the source of the arrays that it is made of, if rules took arrays
            apart or put them together. ``origin`` is then a text that says which parts they are.
        role: what it is in its layer, as in :class:`Extent`.
        model: the name that somebody gave to the model that all of its source is of, "" if it is
            not recorded.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    aliases: tuple[str, ...] = ()
    origin: str = ""
    changes: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    automatic: tuple[str, ...] = ()
    axes: tuple[int, ...] | None = None
    state: StateSpec | None = None
    opaque: int | None = None
    unreadable: str = ""
    made_of: tuple[str, ...] = ()
    role: str = ""
    model: str = ""

    def __post_init__(self) -> None:
        if not self.origin:
            object.__setattr__(self, "origin", self.name)

    @property
    def given(self) -> tuple[str, ...]:
        """Those of all its names that somebody gave to it: neither places nor automatic names.

        >>> spec = ArraySpec("layers/0/w", (2,), "float32", ("head/w",), places=("layers/0/w",))
        >>> spec.given
        ('head/w',)
        """
        return _given(self)

    @property
    def nbytes(self) -> int | None:
        """The size of the array in memory, in bytes. None if it is unknown before reading, as it
        is for strings."""
        if self.opaque is not None:
            return self.opaque
        size = dtypes.itemsize(self.dtype)
        if size is None:
            return None
        for axis in self.shape:
            size *= axis
        return size


def _given(entry: ArraySpec | VariableSpec) -> tuple[str, ...]:
    return tuple(
        name
        for name in (entry.name, *entry.aliases)
        if name not in entry.places and name not in entry.automatic
    )


class PartSpec(NamedTuple):
    """A box of the array of a variable, which its target writes on its own: a shard.

    Args:
        at: the index of its first element on every axis of the array.
        shape: its shape.
        where: the device or process that holds it, for messages. "" if there is nothing to say.

    >>> PartSpec((0, 2048), (4096, 2048)).at
    (0, 2048)
    """

    at: tuple[int, ...]
    shape: tuple[int, ...]
    where: str = ""


@record()
class VariableSpec:
    """A variable of a target, without its value.

    Args:
        name: the primary name, which no other variable of the target has.
        shape: None if the variable takes any shape. An axis is None if it takes any length.
        dtype: a name as in :mod:`initreg.dtypes`.
        aliases: other names that an array for the variable may have.
        places: those of its names that say where it is in its model, as in :class:`ArraySpec`.
            ``"#weights/3 of 8"`` says where its framework lists it among the weights of its model,
            for arrays that are only numbered.
        automatic: those of its names that a framework made up, such as ``dense_4/kernel``. The
            number counts the layers that a process made, so that equal names prove nothing. And
            names that a framework gives such a variable in other programs. They are only compared
            with those of an array at the same place.
        state: what it is in the state of an optimizer, None for any other variable. State is
            matched by that, and never by places.
        not_needed: why nothing is missing if no source has the variable, in words for the plan:
            ``"set to zero by its layer"``. With ``""``, it is missing then.
        not_needed_with: the names of other variables. The variable is missing unless one of these
            is restored. With ``()``, it is never missing. Only with ``not_needed``.
        kept_with: the names of other variables. If one of these is restored and no source has this
            variable, its old value may be wrong. A warning says so, with ``not_needed`` and
            ``remedy``. With ``()``, it is not wrong.
        remedy: what to do then: ``"Call adapt() on the same data"``.
        parts: the boxes that the array is written in, for a variable that is spread over devices or
            processes. ``shape`` is that of all of it. With ``()``, it is written in one go. Copies
            of one box are one part: that it has several writers is up to the target.
        elsewhere: whether other processes write the rest of the array. Otherwise the parts have to
            cover it exactly once.
        most_bytes: the most bytes of the array that the target takes in one go. With 0, it takes
            any number.
        model: the name that somebody gave to the model or layer that the target is, "" if nobody
            did. A source may have a part of this name.
        layer_class: what files call the class of the layer that the target is: ``"conv2d"``. "" if
            the target is not a single layer.
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str
    aliases: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    automatic: tuple[str, ...] = ()
    state: StateSpec | None = None
    not_needed: str = ""
    not_needed_with: tuple[str, ...] = ()
    kept_with: tuple[str, ...] = ()
    remedy: str = ""
    parts: tuple[PartSpec, ...] = ()
    elsewhere: bool = False
    most_bytes: int = 0
    model: str = ""
    layer_class: str = ""

    @property
    def given(self) -> tuple[str, ...]:
        """Those of all its names that somebody gave to it: neither places nor automatic names."""
        return _given(self)


@record()
class LayerSpec:
    """What a variable is in its layer. :func:`initreg.map` asks a target for it.

    Args:
        name: the path of the layer: ``"block_1/conv"``.
        kind: the class of the layer: ``"Conv2D"``.
        role: what the variable is in it: ``"kernel"``, ``"moving_mean"``.
        order: the position of the layer among those of the target, in the order of computation as
            far as it is known.
        axes: what each axis stands for: ``"in"``, ``"out"``, ``"window"``, ``"channels"``,
            ``"multiplier"``, ``"tokens"``, ``"width"``, ``"experts"`` before ``"in"`` and
            ``"out"``, ``"gates"``, which are ``"gates_reset_first"`` in a GRU that resets its state
            before it is multiplied, or ``"flattened"`` for several in one, of which the order is
            not known, and ``"unflattened"`` if several are made of it behind the layer. ``()`` if
            it is not known.
        flattened: the shape, without the batch, of what was flattened before it came into the
            layer. ``()`` if nothing was.
        after: the names of the layers that come right before it. None if it is not known.
        inside: the name of the layer that it is a part of, in which the order is not recorded.
        automatic: whether the name of the layer is one that a framework made up.
        unflattened: the shape, without the batch, of the image that is made of what the layer
            returns. ``()`` if none is.

    >>> LayerSpec("head", "Dense", "kernel", 7, ("in", "out")).axes
    ('in', 'out')
    """

    name: str
    kind: str
    role: str
    order: int
    axes: tuple[str, ...] = ()
    flattened: tuple[int, ...] = ()
    after: tuple[str, ...] | None = None
    inside: str = ""
    automatic: bool = False
    unflattened: tuple[int, ...] = ()
