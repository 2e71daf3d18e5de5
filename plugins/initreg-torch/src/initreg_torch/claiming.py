"""Whether a source is a PyTorch checkpoint, from its first bytes, its members, or its name."""

from __future__ import annotations

from initreg import Claim, Confidence, Source
from initreg.format_tools import indexes

ZIP_MAGIC = b"PK\x03\x04"
# A pickle of the number 0x1950a86a20f9469cfc6c begins the files of torch before 1.6.
OLDER_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"
SUFFIXES = (".pt", ".pth")
INDEX_SUFFIX = ".bin.index.json"
# What transformers and diffusers call the weights in a folder.
FOLDER_FILES = ("pytorch_model.bin", "diffusion_pytorch_model.bin")


def claim(source: Source) -> Claim | None:
    """The answer to ``initreg_claim``."""
    if source.is_dir:
        return _claim_folder(source)
    if not source.is_file:
        return None
    if is_index(source):
        if b'"weight_map"' in source.head:
            return Claim(Confidence.EXACT, "index of PyTorch files: JSON with a weight_map")
        return Claim(Confidence.NAME, f"is named {INDEX_SUFFIX}")
    if source.head.startswith(OLDER_MAGIC):
        return Claim(Confidence.EXACT, "begins with the magic number of torch.save before 1.6")
    if source.head.startswith(ZIP_MAGIC):
        found = root_of(source.members or ())
        if found is not None:
            return Claim(Confidence.EXACT, f"zip archive with {found}data.pkl")
        if source.members is None and b"/data.pkl" in source.head[:512]:
            return Claim(Confidence.CONTENT, "begins like a PyTorch archive, but has no end")
    if source.suffix in SUFFIXES:
        return Claim(Confidence.NAME, f"is named {source.suffix}")
    return None


def root_of(members: tuple[str, ...]) -> str | None:
    """The folder of the archive that holds ``data.pkl``, with its slash; None if there is none.

    Every archive has one, named like the file when it was saved. ``version`` lies beside it, or,
    in archives of the first months of the format, only ``data/``.
    """
    for name in members:
        folder, slash, last = name.rpartition("/")
        if last == "data.pkl" and slash and "/" not in folder:
            root = folder + slash
            if root + "version" in members or any(m.startswith(root + "data/") for m in members):
                return root
    return None


def is_index(source: Source) -> bool:
    """Whether the source is named like the index of several files."""
    return indexes.is_index(source, INDEX_SUFFIX)


def contents(folder: Source) -> list[str]:
    """The names in a folder that could be meant: indices, or else files with their usual names."""
    names = [name for name in folder.names if not name.startswith(".")]
    indices = [name for name in names if indexes.is_index_name(name, INDEX_SUFFIX)]
    return indices or [name for name in names if name in FOLDER_FILES]


def _claim_folder(source: Source) -> Claim | None:
    found = contents(source)
    if not found:
        return None
    # Published models often lie in a folder in several formats, safetensors among them.
    return Claim(Confidence.CONTENT, f"folder with {found[0]}", file=found[0])
