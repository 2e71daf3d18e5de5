"""HDF5: Keras's ``.h5``, ``.weights.h5``, ``.keras`` and ``.weights.json``, and any other file.

What an array is called:

- Some files name their weights: those of Keras 1 and 2, and Keras 3's legacy ``.h5``. There an
  array is called by the weight's name, as in its ``weight_names`` attribute. The dataset's path is
  an alias. The weights of an optimizer come last, under their own names. Weights that share a name,
  as in a nested model, are called by their paths instead, and so is a dataset that no attribute
  names.
- In any other file, such as the ``.weights.h5`` and ``.keras`` of Keras 3, an array is called by
  the dataset's path without its leading ``/``: ``layers/dense/vars/0``. Further links to a dataset
  inside the file are aliases. A further link to a group gives no further names.

Arrays that are the state of an optimizer know that, and where in it they are.

A dataset with a null dataspace holds no array and is not listed. No other file is ever opened:
external links, external storage and virtual datasets are listed, with the reason why they are not
read, and so are links that lead nowhere.

No lock is kept, so that reading never stops a program that wants to write. A file that another
program has open for writing is not opened.

Nothing of a file is given to the HDF5 library, which is written in C and does not survive damaged
files, unless the user asks for that with ``native=True``.

The modules: ``claiming`` recognises a source. ``opening`` opens a file, an ``archive`` or its
``shards``. ``container`` is one open file. ``walk`` finds its datasets, ``names`` names them,
``optimizers`` says which are the state of an optimizer. ``attributes`` gives the names that the
file has for that, and ``arrays`` says where the bytes are. All of these use the package ``hdf5``,
which reads the structures of the file. ``native`` lets h5py read an array. ``writing`` and
``calm_file`` write a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from initreg import Claim, OpenOptions, Source, hookimpl
from initreg_formats.h5 import claiming

if TYPE_CHECKING:
    from initreg import Output, Saved, SaveOptions

initreg_endings = (".h5", ".hdf5")
initreg_finds_parts = True
initreg_requires = {"h5py": "pip install h5py"}


@hookimpl
def initreg_claim(source: Source) -> Claim | None:
    return claiming.claim(source)


@hookimpl
def initreg_open(source: Source, options: OpenOptions) -> Mapping[str, Any]:
    from initreg_formats.h5.opening import open_source

    return open_source(source, options)


@hookimpl
def initreg_save(arrays: Saved, output: Output, options: SaveOptions) -> None:
    from initreg_formats.h5 import writing

    writing.save(arrays, output, options)
