"""What is fuzzed."""

from __future__ import annotations

# By name of the seed, the format and the file that is opened; a checkpoint is its prefix.
SEEDS = {
    "npz": ("npz", "m.npz"),
    "npz_deflated": ("npz", "m.npz"),
    "npz_mixed": ("npz", "m.npz"),
    "npy": ("npy", "m.npy"),
    "safetensors": ("safetensors", "m.safetensors"),
    "safetensors_shards": ("safetensors", "m.safetensors.index.json"),
    "checkpoint": ("tf_checkpoint", "m.index"),
    "checkpoint_objects": ("tf_checkpoint", "m.index"),
    "checkpoint_v1": ("tf_checkpoint", "m"),
    "metagraph": ("tf_metagraph", "m.meta"),
    "h5": ("h5", "m.h5"),
    "h5_new": ("h5", "m.h5"),
    "weights_h5": ("h5", "m.weights.h5"),
    "keras": ("h5", "m.keras"),
}
