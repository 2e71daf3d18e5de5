"""What a file or a folder seems to be that no format claims, and what to do with it."""

from __future__ import annotations

import contextlib
import re
from typing import Any, Protocol

from initreg.errors import InitregError, one_line
from initreg.plugin.part_names import part_sets, told
from initreg.store_paths import FilePath

# Files that people try to open, but no format reads: first bytes, what it is, "torch" or "pickle".
_FOREIGN = (
    (
        b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19",
        "a PyTorch file from before version 1.6",
        "torch",
    ),
    (b"\x80", "a Python pickle", "pickle"),
    (b"GGUF", "a GGUF file. To read it: pip install initreg-gguf", ""),
    (b"PK\x03\x04", "a zip archive", ""),
    (b"PK\x05\x06", "an empty zip archive", ""),
    (b"\x1f\x8b", "gzip-compressed: unpack it first", ""),
    (b"\xfd7zXZ", "xz-compressed: unpack it first", ""),
    (b"BZh", "bzip2-compressed: unpack it first", ""),
    (b"(\xb5/\xfd", "zstd-compressed: unpack it first", ""),
)
_ORBAX = {"_CHECKPOINT_METADATA", "manifest.ocdbt"}
_TFJS = ". To read it: pip install initreg-tfjs"
_BY_SUFFIX = {
    ".onnx": "an ONNX model. To read its weights: pip install initreg-onnx",
    ".msgpack": "msgpack, as Flax saves weights. To read them: pip install initreg-jax",
    ".pb": "a frozen graph, if it is not damaged. To read it: pip install initreg-frozen-graph",
}
_BY_NAME = {
    ".msgpack.index.json": "an index of Flax's msgpack. To read it: pip install initreg-jax",
    "weights_manifest.json": "the manifest of a TensorFlow.js model" + _TFJS,
}
_CONVERT = (
    ". To read it without running it: pip install initreg-torch. Or, if you trust it, convert it "
    "where it was made: safetensors.torch.save_file(%s, 'weights.safetensors')"
)
# Parts are converted together, so that none of them is taken for the whole model.
_CONVERT_PARTS = (
    ". To read it without running it: pip install initreg-torch. Or, if you trust it, convert all "
    "parts together where they were made: "
    "safetensors.torch.save_file({k: v for p in sorted(glob.glob('*-of-*.bin')) "
    "for k, v in torch.load(p, weights_only=True).items()}, 'weights.safetensors')"
)
_TORCH_INDEX = (".bin.index.json", ".pt.index.json", ".pth.index.json")
_TFJS_SHARD = re.compile(r"group\d+-shard\d+of\d+(\.bin)?")
_TAIL = 1 << 20  # bytes. The key comes after the topology of the model, and before all weights
_MOST_LOOKED_AT = 100  # files of a folder


class Looked(Protocol):
    """What is asked of a source here."""

    obj: Any
    path: FilePath | None
    suffix: str

    @property
    def is_dir(self) -> bool: ...
    @property
    def is_file(self) -> bool: ...
    @property
    def head(self) -> bytes: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    def stand_in(self) -> str: ...
    def read(self, offset: int, length: int) -> bytes: ...


def looks_like(source: Looked) -> str:
    """What a source seems to be that no format claims, and what to do with it.

    It is "" if that is unknown.
    """
    if source.path is None:
        kind = type(source.obj).__name__
        if isinstance(source.obj, (list, tuple)):
            return f"a {kind} is a chain. Pass it to SmartInit or initreg.load"
        return (
            "initreg opens paths, URLs, open binary files, mappings and lists of them. This is of "
            f"type {kind}"
        )
    if source.is_dir:
        return _folder(source)
    if not source.head:
        return "the file is empty"
    if source.stand_in():
        return source.stand_in()
    if source.path.name.endswith(_TORCH_INDEX):
        return "an index of PyTorch files, which are pickles and can run code" + _CONVERT_PARTS
    torch = source.suffix in (".pt", ".pth", ".jit") or _is_torch_zip(source.head)
    for magic, what, kind in _FOREIGN:
        if source.head.startswith(magic):
            if torch or kind == "torch":
                if whole := told(source.path):
                    return (
                        f"a PyTorch file, which is a pickle and can run code, and {whole}"
                        + _CONVERT_PARTS
                    )
                load = "torch.load(path, weights_only=True)"
                if b"/data/0" in source.head[:256] or source.suffix == ".jit":
                    load = "torch.jit.load(path).state_dict()"
                return f"a PyTorch file, which is a pickle and can run code{_CONVERT % load}"
            if kind == "pickle":
                return "a Python pickle, which can run code and is not opened"
            return what
    if source.head[4:8] == b"TFL3":
        return "a TensorFlow Lite model. To read its tensors: pip install initreg-tflite"
    for ending, what in _BY_NAME.items():
        if source.path.name.endswith(ending):
            return what
    if _TFJS_SHARD.fullmatch(source.path.name):
        return "a shard of a TensorFlow.js model" + _TFJS
    if source.suffix == ".json" and b'"weightsManifest"' in source.head + source.read(
        -_TAIL, _TAIL
    ):
        return "a TensorFlow.js model" + _TFJS
    return _BY_SUFFIX.get(source.suffix, "")


def _is_torch_zip(head: bytes) -> bool:
    # torch.save writes archive/data.pkl first, torch.jit.save archive/data/0.
    return head.startswith(b"PK\x03\x04") and (
        b"/data.pkl" in head[:256] or b"/data/0" in head[:256]
    )


def _folder(folder: Looked) -> str:
    """What a folder seems to be that no format claims."""
    if not folder.names:
        return "an empty folder"
    assert folder.path is not None
    for name in folder.names[:_MOST_LOOKED_AT]:
        with contextlib.suppress(InitregError):
            file = type(folder)(folder.path / name, of=folder)  # type: ignore[call-arg]
            if file.is_file and (what := file.stand_in()):
                return f"a folder in which {one_line(name)} is {what}"
    shown = ", ".join(map(one_line, folder.names[:5])) + (", ..." if len(folder.names) > 5 else "")
    if _ORBAX.intersection(folder.names):
        return "a checkpoint of Orbax. To read it: pip install 'initreg-jax[orbax]'"
    torch = [each for each in part_sets(folder.names) if each.ending in (".bin", ".pt", ".pth")]
    if torch:
        return (
            f"a folder with the PyTorch files {torch[0]}, which are pickles and can run code"
            + _CONVERT_PARTS
        )
    return f"a folder with {shown}. Pass a file in it"
