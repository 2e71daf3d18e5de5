"""Checkpoints of Orbax, which are folders, read through tensorstore.

An array is called by the keys on the way to it, joined with ``/``, as in msgpack. Its bytes are
zarr, in files of their own or in a database (OCDBT). tensorstore, a library in C++, reads them. So
it is asked only if the user passes ``native=True``.

The modules: ``claiming`` recognises a folder, ``opening`` decides which checkpoint it means,
``tree`` reads the names of the arrays, ``files`` watches the files, and ``stores`` reads arrays.

Source of the layout: ``orbax/checkpoint/_src/metadata/tree.py``, ``.../serialization/types.py`` and
``.../path/step.py`` of Orbax 0.12.
"""
