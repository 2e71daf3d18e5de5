"""The rows of the benchmark as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
from measure import Row

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "initreg"  # the same rows make the same file


def draw(restoring: Sequence[Row], growing: Sequence[Row], path: Path) -> None:
    figure, axes = plt.subplots(1, 3, figsize=(15, 6), width_ratios=(2, 1, 1))
    rows = [row for row in restoring if row.faster is not None]
    names = [f"{row.what}\n{row.peer}" for row in rows]
    places = range(len(rows))
    axes[0].barh(places, [1 / row.ratio for row in rows], color="tab:blue")
    axes[0].plot([row.faster for row in rows], places, "k|", markersize=14, label="goal")
    axes[0].axvline(1, color="gray", linewidth=0.8)
    axes[0].set_yticks(places, names, fontsize=7)
    axes[0].invert_yaxis()
    axes[0].set_xscale("log")
    axes[0].set_xlabel("times faster than the peer")
    axes[0].legend()
    by_bytes = [row for row in growing if row.peer == "np.load + assign"]
    by_number = [row for row in growing if row.peer != "np.load + assign"]
    for axis, found, label, of in (
        (axes[1], by_bytes, "MB", lambda row: row.megabytes),
        (axes[2], by_number, "variables", lambda row: row.n),
    ):
        along = [of(row) for row in found]
        axis.loglog(along, [row.ours for row in found], "o-", label="initreg")
        peer = found[0].peer if found else ""
        axis.loglog(along, [row.theirs for row in found], "s--", label=peer)
        axis.set_xlabel(label)
        axis.set_ylabel("seconds")
        axis.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
