"""Weights that Flax saved as msgpack, as a source for initreg, without JAX and without Flax.

An array is called by the keys on the way to it, joined with ``/``: ``params/Dense_0/kernel``. It is
read where it lies in the file. :class:`Tree` is a target: a pytree that arrays are restored into.

The modules: ``claiming`` recognises a source, ``opening`` decides what it means, ``msgpack`` reads
a file, ``naming`` gives the arrays their names, ``arrays`` says where their bytes are, and
``tree_target`` writes into pytrees. The package ``orbax`` reads Orbax's checkpoints, which are
folders, through tensorstore.

Source of the layout: ``flax/serialization.py`` of Flax 0.12, and the specification of msgpack.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from initreg import Claim, OpenOptions, Source, hookimpl

from initreg_jax import claiming
from initreg_jax.tree_target import Tree as Tree


@hookimpl
def initreg_claim(source: Source) -> Claim | None:
    return claiming.claim(source)


@hookimpl
def initreg_open(source: Source, options: OpenOptions) -> Mapping[str, Any]:
    from initreg_jax import opening

    found: Mapping[str, Any] = opening.open_source(source, options)
    return found
