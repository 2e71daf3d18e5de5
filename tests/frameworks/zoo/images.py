"""Models of images: PyTorch into keras.applications and keras-hub."""

from __future__ import annotations

from typing import Any

import keras
import keras_hub.models as hub
import transformers as hf
from keras import layers
from keras_hub.src.models.clip.clip_vision_encoder import CLIPVisionEncoder

from tests.frameworks.zoo.pairs import Pair, channels_first, images
from tests.frameworks.zoo.torchvision_like import VGG, DenseNet, ResNet, UNet

TOP = {"weights": None, "classes": 10, "classifier_activation": None}
VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}


def _pair(
    theirs: Any, ours: Any, size: int, key: str = "", permute: bool = False, by: float = 1
) -> Pair:
    x = images(size)

    def expected() -> Any:
        found = theirs(channels_first(x))
        found = getattr(found, key) if key else found
        return found.permute(0, 2, 3, 1) if permute else found

    return Pair(theirs, ours, expected, lambda: ours(by * x, training=False))


def resnet50() -> Pair:
    ours = keras.applications.ResNet50(input_shape=(64, 64, 3), **TOP)
    return _pair(ResNet(), ours, 64)


def resnet50_hf() -> Pair:
    ours = hub.ResNetBackbone(
        [64], [7], [64, 128, 256, 512], [3, 4, 6, 3], [1, 2, 2, 2], "bottleneck_block"
    )
    return _pair(hf.ResNetModel(hf.ResNetConfig()), ours, 64, "last_hidden_state", True)


def resnet18() -> Pair:
    widths, depths = [64, 128, 256, 512], [2, 2, 2, 2]
    config = hf.ResNetConfig(depths=depths, hidden_sizes=widths, layer_type="basic")
    ours = hub.ResNetBackbone([64], [7], widths, depths, [1, 2, 2, 2], "basic_block")
    return _pair(hf.ResNetModel(config), ours, 64, "last_hidden_state", True)


def _vgg(depths: tuple[int, ...], make: Any) -> Pair:
    """The classifier is 128 wide instead of 4,096."""
    base = make(weights=None, include_top=False, input_shape=(64, 64, 3))
    y = layers.Flatten(name="flatten")(base.output)
    y = layers.Dense(128, "relu", name="fc1")(y)
    y = layers.Dense(128, "relu", name="fc2")(y)
    y = layers.Dense(10, name="predictions")(y)
    return _pair(VGG(depths, 64, 128), keras.Model(base.input, y), 64)


def vgg16() -> Pair:
    return _vgg((2, 2, 3, 3, 3), keras.applications.VGG16)


def vgg19() -> Pair:
    return _vgg((2, 2, 4, 4, 4), keras.applications.VGG19)


def densenet121() -> Pair:
    ours = keras.applications.DenseNet121(input_shape=(64, 64, 3), **TOP)
    return _pair(DenseNet(), ours, 64)


def mobilenet_v1() -> Pair:
    config = hf.MobileNetV1Config(num_labels=10, image_size=64, layer_norm_eps=1e-3)
    ours = keras.applications.MobileNet(input_shape=(64, 64, 3), **TOP)
    return _pair(hf.MobileNetV1ForImageClassification(config), ours, 64, "logits")


def mobilenet_v2() -> Pair:
    config = hf.MobileNetV2Config(num_labels=10, image_size=64)
    ours = keras.applications.MobileNetV2(input_shape=(64, 64, 3), **TOP)
    return _pair(hf.MobileNetV2ForImageClassification(config), ours, 64, "logits")


def efficientnet() -> Pair:
    """Keras divides its images by 255 itself."""
    config = hf.EfficientNetConfig(
        width_coefficient=1.0,
        depth_coefficient=1.0,
        image_size=64,
        hidden_dim=1280,
        num_labels=10,
    )
    ours = keras.applications.EfficientNetB0(input_shape=(64, 64, 3), **TOP)
    theirs = hf.EfficientNetForImageClassification(config)
    return _pair(theirs, ours, 64, "logits", by=255)


def convnext() -> Pair:
    config = hf.ConvNextConfig(num_labels=10)
    ours = keras.applications.ConvNeXtTiny(
        include_preprocessing=False, input_shape=(64, 64, 3), **TOP
    )
    return _pair(hf.ConvNextForImageClassification(config), ours, 64, "logits")


def vit() -> Pair:
    ours = hub.ViTBackbone((32, 32, 3), 8, 3, 4, 32, 64)
    theirs = hf.ViTModel(hf.ViTConfig(**VIT), add_pooling_layer=False)
    return _pair(theirs, ours, 32, "last_hidden_state")


def deit() -> Pair:
    ours = hub.DeiTBackbone((32, 32, 3), 8, 3, 4, 32, 64)
    theirs = hf.DeiTModel(hf.DeiTConfig(**VIT), add_pooling_layer=False)
    return _pair(theirs, ours, 32, "last_hidden_state")


def dinov2() -> Pair:
    x = images(32)
    sizes = {key: value for key, value in VIT.items() if key != "intermediate_size"}
    theirs = hf.Dinov2Model(hf.Dinov2Config(**sizes, mlp_ratio=2))
    ours = hub.DINOV2Backbone(
        8, 3, 32, 4, 64, image_shape=(32, 32, 3), position_embedding_shape=(32, 32)
    )
    return Pair(
        theirs,
        ours,
        lambda: theirs(channels_first(x)).last_hidden_state,
        lambda: ours({"images": x}),
    )


def clip_vision() -> Pair:
    """The pooled output: transformers has its last norm there alone, and keras-hub everywhere."""
    x = images(32)
    ours = CLIPVisionEncoder(8, 32, 3, 4, 64, image_shape=(32, 32, 3))
    theirs = hf.CLIPVisionModel(hf.CLIPVisionConfig(**VIT))
    return Pair(
        theirs,
        ours,
        lambda: theirs(channels_first(x)).pooler_output,
        lambda: ours({"images": x})[:, 0],
    )


def swin() -> Pair:
    config = hf.SwinConfig(
        image_size=64, patch_size=4, embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4
    )
    ours = hub.SwinTransformerBackbone(
        image_shape=(64, 64, 3),
        patch_size=4,
        embed_dim=16,
        depths=[2, 2],
        num_heads=[2, 4],
        window_size=4,
    )
    return _pair(hf.SwinModel(config, add_pooling_layer=False), ours, 64, "last_hidden_state")


def segformer() -> Pair:
    config = hf.SegformerConfig(
        depths=[2, 2, 2, 2],
        hidden_sizes=[16, 32, 64, 128],
        num_attention_heads=[1, 2, 4, 8],
        sr_ratios=[8, 4, 2, 1],
        mlp_ratios=[4, 4, 4, 4],
    )
    ours = hub.MiTBackbone(
        image_shape=(64, 64, 3),
        hidden_dims=[16, 32, 64, 128],
        layerwise_depths=[2, 2, 2, 2],
        num_layers=4,
        layerwise_num_heads=[1, 2, 4, 8],
        layerwise_sr_ratios=[8, 4, 2, 1],
        max_drop_path_rate=0,
        layerwise_patch_sizes=[7, 3, 3, 3],
        layerwise_strides=[4, 2, 2, 2],
    )
    return _pair(hf.SegformerModel(config), ours, 64, "last_hidden_state", True)


def unet() -> Pair:
    return _unet(True)


def unnamed_unet() -> Pair:
    return _unet(False)


def _unet(named: bool) -> Pair:
    def name(text: str) -> str | None:
        return text if named else None

    def double(x: Any, width: int, block: str) -> Any:
        for number in (1, 2):
            x = layers.Conv2D(width, 3, padding="same", name=name(f"{block}_conv{number}"))(x)
            x = layers.BatchNormalization(epsilon=1e-5, name=name(f"{block}_bn{number}"))(x)
            x = layers.ReLU()(x)
        return x

    given = keras.Input((16, 16, 3))
    one = double(given, 8, "enc1")
    two = double(layers.MaxPool2D()(one), 16, "enc2")
    y = double(layers.MaxPool2D()(two), 32, "bottleneck")
    y = layers.Conv2DTranspose(16, 2, 2, name=name("up2"))(y)
    y = double(layers.Concatenate()([y, two]), 16, "dec2")
    y = layers.Conv2DTranspose(8, 2, 2, name=name("up1"))(y)
    y = double(layers.Concatenate()([y, one]), 8, "dec1")
    ours = keras.Model(given, layers.Conv2D(2, 1, name=name("out"))(y))
    return _pair(UNet(), ours, 16, permute=True)
