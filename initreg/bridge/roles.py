"""What a weight is in its layer, as the last part of its name says it.

The words are those of PyTorch, Keras, TensorFlow 1 and flax, of which the documentation of each
layer lists its weights.
"""

from __future__ import annotations

import re

KERNEL, BIAS = "kernel", "bias"
GAMMA, BETA, MEAN, VARIANCE = "gamma", "beta", "mean", "variance"
DEPTHWISE, POINTWISE = "depthwise_kernel", "pointwise_kernel"
RECURRENT = "recurrent_kernel"
OWN = "*"  # a weight with a name of its own, such as a class token
# Those of layers. Any other weight, such as a class token, is taken for a layer of its own.
OF_A_LAYER = frozenset((KERNEL, BIAS, GAMMA, BETA, MEAN, VARIANCE, DEPTHWISE, POINTWISE, RECURRENT))

_WORDS = {
    KERNEL: "weight weights kernel w filter filters embeddings embedding _kernel _embeddings",
    BIAS: "bias biases b _bias",
    GAMMA: "gamma g scale",
    BETA: "beta offset",
    MEAN: "running_mean moving_mean mean moving_mean_0",
    VARIANCE: "running_var moving_variance var variance",
    DEPTHWISE: "depthwise_kernel depthwise_weights",
    POINTWISE: "pointwise_kernel pointwise_weights",
    RECURRENT: "recurrent_kernel",
}
_ROLES = {word: role for role, words in _WORDS.items() for word in words.split()}

# What PyTorch's modules keep beside their weights: counters, masks, positions and tables of angles,
# which are made anew from the configuration. Only arrays that no variable can take are dropped.
_NOT_WEIGHTS = re.compile(
    r"num_batches_tracked|position_ids|token_type_ids|masked_bias|inv_freq|relative_position_index"
    r"|attn_mask|relative_coords_table|rope_freqs|freqs|cos_cached|sin_cached"
)


def role(last: str, ndim: int) -> str:
    """What a weight is: one of the constants of this module.

    Args:
        last: the last part of its name.
        ndim: how many axes it has. A ``weight`` with one axis scales, as in a normalisation.

    >>> role("weight", 4), role("weight", 1), role("cls_token", 3)
    ('kernel', 'gamma', '*')
    """
    found = _ROLES.get(last.lower(), OWN)
    if found == KERNEL and ndim < 2:
        return GAMMA
    return found


def is_no_weight(last: str) -> bool:
    """Whether an array of this name is one that modules of PyTorch make anew.

    >>> is_no_weight("num_batches_tracked"), is_no_weight("running_mean")
    (True, False)
    """
    return _NOT_WEIGHTS.fullmatch(last) is not None
