"""A TF1 session, or a graph without one. :mod:`initreg_targets.session_writing` writes into it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from initreg import Claim, OpenOptions, Source, Target, hookimpl
from initreg_targets.claiming import claim, target_of
from initreg_targets.frameworks import is_a
from initreg_targets.sessions import session_in

initreg_takes = ("a TF1 session",)


@hookimpl
def initreg_target(obj: object) -> Target | None:
    session = session_in(obj)
    if session is None and not is_a(obj, "tensorflow", "Graph"):
        return None
    from initreg_targets.session_writing import Graph, Session

    return Graph(obj) if session is None else Session(session)


@hookimpl
def initreg_claim(source: Source) -> Claim | None:
    return claim(source, initreg_target)


@hookimpl
def initreg_open(source: Source, options: OpenOptions) -> Mapping[str, Any]:
    session = target_of(source, initreg_target, "not a TF1 session")
    return session.living()  # type: ignore[no-any-return]
