"""The HDF5 file format: structures in, places of bytes out. Nothing here knows Keras.

The rules are those of the HDF5 File Format Specification, version 3.0. Each module names the
sections that it follows. Every structure is read through :class:`content.Content`, which checks
that it is inside of the file, and counts what is read. So no structure can be read without end,
whatever leads to what. Addresses and sizes have 8 bytes.

The modules, in the order in which they import each other: ``content`` has the bytes, ``lookup3``
their checksums. ``superblock`` finds the root, ``headers`` reads the messages of an object, and
``messages`` and ``datatypes`` say what they mean. ``trees`` and ``heaps`` are what large groups are
made of, ``groups`` gives the links, ``attributes`` the attributes, ``strings`` their text.
``chunk_trees`` and ``chunk_arrays`` say where chunks are.
"""

SIGNATURE = b"\x89HDF\r\n\x1a\n"  # what a file begins with; here, so that claiming imports no more
