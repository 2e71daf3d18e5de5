"""Whether a source is HDF5, and which kind, from its first bytes and its name. It imports little,
so that claiming stays cheap."""

from __future__ import annotations

from initreg import Claim, Confidence, InitregError, Source
from initreg.format_tools.files import pread_of
from initreg_formats.h5.hdf5 import SIGNATURE
from initreg_formats.shared.zip_member import MAGIC

WEIGHTS = "model.weights.h5"  # in a .keras archive
CONFIG = "config.json"
_SUFFIXES = (".h5", ".hdf5", ".keras")
KERAS_INDEX = ".weights.json"
# transformers wrote TensorFlow weights so: tf_model-00001-of-00002.h5, and tf_model.h5.index.json.
TRANSFORMERS_INDEX = ".h5.index.json"
TRANSFORMERS = "tf_model.h5"


def claim(source: Source) -> Claim | None:
    """The answer to ``initreg_claim``."""
    if source.is_dir:
        found = contents(source)
        if not found:
            return None
        # Such a folder often has the model in other formats, too.
        return Claim(Confidence.CONTENT, f"folder with {found[0]}", file=found[0])
    if not source.is_file:
        return None
    if signature_at(source.head) is not None or _is_deep(source):
        return Claim(Confidence.EXACT, "has the signature of HDF5")
    if source.head.startswith(MAGIC):
        return _claim_archive(source)
    if is_index(source):
        return Claim(Confidence.EXACT, "index of HDF5 files: JSON with a weight_map")
    if source.suffix in _SUFFIXES:
        return Claim(Confidence.NAME, f"is named {source.suffix}, but does not begin like one")
    return None


def contents(folder: Source) -> list[str]:
    """The names in a folder that could be meant, as transformers writes them: indices, or else
    ``tf_model.h5``. A folder with other HDF5 files is not claimed, because these are often the
    saves of several epochs."""
    names = [name for name in folder.names if not name.startswith(".")]
    indices = [name for name in names if name.lower().endswith(TRANSFORMERS_INDEX)]
    return indices or [name for name in names if name == TRANSFORMERS]


def signature_at(head: bytes) -> int | None:
    """Where HDF5's signature is: the first of 0, 512, 1024 and 2048. None if it is nowhere there.

    Files with more before it are recognised by their names.
    """
    places = (at for at in (0, 512, 1024, 2048) if head.startswith(SIGNATURE, at))
    return next(places, None)


def _is_deep(source: Source) -> bool:
    """Whether a file that is named like HDF5 has the signature further inside."""
    if source.suffix not in _SUFFIXES or source.head.startswith(MAGIC):
        return False
    from initreg_formats.h5.hdf5.superblock import find

    try:
        with source.open() as file:
            return find(pread_of(file), 0, source.size) is not None
    except (InitregError, OSError):
        return False


def _claim_archive(source: Source) -> Claim | None:
    names = source.members
    if names is None:
        if source.suffix == ".keras":
            return Claim(
                Confidence.CONTENT, "begins like a Keras archive, but the archive has no end"
            )
        return None
    if CONFIG in names and WEIGHTS in names:
        return Claim(Confidence.EXACT, f"Keras archive: zip with {CONFIG} and {WEIGHTS}")
    if source.suffix == ".keras":
        return Claim(Confidence.CONTENT, f"zip archive named .keras, without {WEIGHTS}")
    return None


def is_index(source: Source) -> bool:
    """Whether the source is named, and begins, like the index of several files."""
    assert source.path is not None
    indices = (KERAS_INDEX, TRANSFORMERS_INDEX)
    return source.path.name.lower().endswith(indices) and b'"weight_map"' in source.head
