"""Tools for authors of formats: what several formats need and none should have to write again.

- ``values``: arrays that are computed when they are asked for, and arrays that cannot be read.
- ``runs``: an array whose bytes are in several runs, as an extent.
- ``chunks``: the elements of an array in chunks, of which a format makes something else.
- ``indexes``: an index of several files, the parts that it names, and the file that a folder means.
- ``strict_json``: JSON without repeated keys.
- ``protobuf``: protocol buffers in a file, field by field.

They are public, as the names of ``initreg`` are. Import them from their modules, inside the hooks
that need them if they are needed only there: claiming must be cheap.
"""
