"""Names that Keras and TensorFlow make up for what nobody named: ``dense_4``, ``Variable_1``.

They count what a process has made, so that equal ones say nothing about the model.

Source: ``auto_name`` in ``keras/src/utils/naming.py``, for the classes of ``keras.layers`` and
``tf_keras.layers``.
"""

from __future__ import annotations

import re

_CLASSES_TEXT = """
abstract_rnn_cell activation activity_regularization adaptive_average_pooling1d
adaptive_average_pooling2d adaptive_average_pooling3d adaptive_max_pooling1d
adaptive_max_pooling2d adaptive_max_pooling3d add additive_attention alpha_dropout attention
aug_mix auto_contrast average average_pooling1d average_pooling2d average_pooling3d avg_pool1d
avg_pool2d avg_pool3d batch_normalization bidirectional category_encoding center_crop
concatenate contrast_limited_adaptive_histogram_equalization conv1d conv1d_transpose conv2d
conv2d_transpose conv3d conv3d_transpose conv_lstm1d conv_lstm2d conv_lstm3d convolution1d
convolution1d_transpose convolution2d convolution2d_transpose convolution3d
convolution3d_transpose cropping1d cropping2d cropping3d cut_mix dense dense_features
depthwise_conv1d depthwise_conv2d discretization dot dropout einsum_dense elu embedding
equalization flatten flax_layer functional gaussian_dropout gaussian_noise
global_average_pooling1d global_average_pooling2d global_average_pooling3d global_avg_pool1d
global_avg_pool2d global_avg_pool3d global_max_pool1d global_max_pool2d global_max_pool3d
global_max_pooling1d global_max_pooling2d global_max_pooling3d group_normalization
group_query_attention grouped_query_attention gru gru_cell hashed_crossing hashing identity
input_layer integer_lookup jax_layer lambda layer layer_normalization leaky_re_lu
locally_connected1d locally_connected2d lstm lstm_cell masking max_num_bounding_boxes max_pool1d
max_pool2d max_pool3d max_pooling1d max_pooling2d max_pooling3d maximum mel_spectrogram minimum
mix_up model multi_head_attention multiply normalization p_re_lu permute pipeline rand_augment
random_brightness random_color_degeneration random_color_jitter random_contrast random_crop
random_elastic_transform random_erasing random_flip random_gaussian_blur random_grayscale
random_height random_hue random_invert random_perspective random_posterization random_rotation
random_saturation random_sharpness random_shear random_translation random_width random_zoom
re_lu repeat_vector rescaling reshape resizing reversible_embedding rms_normalization rnn
separable_conv1d separable_conv2d separable_convolution1d separable_convolution2d sequential
simple_rnn simple_rnn_cell softmax solarization spatial_dropout1d spatial_dropout2d
spatial_dropout3d spectral_normalization stacked_rnn_cells stft_spectrogram string_lookup
subtract text_vectorization tfsm_layer thresholded_re_lu time_distributed torch_module_wrapper
unit_normalization up_sampling1d up_sampling2d up_sampling3d wrapper zero_padding1d
zero_padding2d zero_padding3d
"""
_CLASSES = frozenset(_CLASSES_TEXT.split())
# Bidirectional gives its layers the name of the one that it was made of, with a prefix.
_NUMBERED = re.compile(r"(?:forward_|backward_)?(.*?)(?:_\d+)?", re.DOTALL)
_UNNAMED = re.compile(r"[Vv]ariable(_\d+)?")


def has_class_name(layer: str) -> bool:
    """Whether a layer's name is that of a class of Keras, with or without a number.

    >>> has_class_name("dense_4"), has_class_name("head")
    (True, False)
    """
    match = _NUMBERED.fullmatch(layer)
    return match is not None and match[1] in _CLASSES


def is_automatic(name: str) -> bool:
    """Whether a variable's name has a part that nobody gave it.

    >>> is_automatic("dense_4/kernel:0"), is_automatic("Variable"), is_automatic("head/kernel")
    (True, True, False)
    """
    *layers, own = name.removesuffix(":0").split("/")
    return _UNNAMED.fullmatch(own) is not None or any(map(has_class_name, layers))


def without_underscores(path: str) -> str:
    """A path as both versions of Keras have it: one calls ``_kernel`` what the other calls
    ``kernel``."""
    if not path.startswith("_") and "/_" not in path:
        return path
    return re.sub(r"(^|/)_+(?=[^/])", r"\1", path)
