"""All architectures, and the table of them in docs/from-pytorch.md.

``python -m tests.frameworks.zoo.table`` prints it.
"""

from __future__ import annotations

from tests.frameworks.zoo import decoders, encoders, filled, fused, images, small, written
from tests.frameworks.zoo.pairs import Architecture

_HUB, _APPS, _HF, _TV = "keras-hub", "keras.applications", "transformers", "torchvision's names"
_TABLE = "the table of positions has two more rows in PyTorch, for padding"
_HEADS = "query, key and value are in one array, head by head, and no layer says how many heads"
_MADE_ANEW = "constants of the model and no weights: ignore them"

ARCHITECTURES = [
    Architecture("VGG16", _TV, _APPS, images.vgg16),
    Architecture("VGG19", _TV, _APPS, images.vgg19),
    Architecture("ResNet-50", _TV, _APPS, images.resnet50),
    Architecture("ResNet-50", _HF, _HUB, images.resnet50_hf),
    Architecture("ResNet-18", _HF, _HUB, images.resnet18),
    Architecture("DenseNet-121", _TV, _APPS, images.densenet121),
    Architecture("MobileNet V1", _HF, _APPS, images.mobilenet_v1),
    Architecture("MobileNet V2", _HF, _APPS, images.mobilenet_v2),
    Architecture(
        "EfficientNet-B0",
        _HF,
        _APPS,
        images.efficientnet,
        left=f"`normalization/*`: {_MADE_ANEW}",
        fill=filled.none,
    ),
    Architecture("ConvNeXt-Tiny", _HF, _APPS, images.convnext),
    Architecture("ConvNeXt V2", _HF, "own", written.convnext_v2),
    Architecture("RegNet Y", _HF, "own", written.regnet),
    Architecture("U-Net, layers with names", "own", "own", images.unet),
    Architecture("U-Net, layers without names", "own", "own", images.unnamed_unet),
    Architecture("ViT", _HF, _HUB, images.vit, converter=True),
    Architecture("DeiT", _HF, _HUB, images.deit, converter=True),
    Architecture(
        "DINOv2",
        _HF,
        _HUB,
        images.dinov2,
        left="the target has the table of positions twice",
        fill=filled.dinov2,
    ),
    Architecture(
        "CLIP, images",
        _HF,
        _HUB,
        images.clip_vision,
        left="`embedding/position_ids`: PyTorch's file lacks 0, 1, 2, ...",
        fill=filled.clip,
    ),
    Architecture(
        "SegFormer (MiT)",
        _HF,
        _HUB,
        images.segformer,
        left="the target calls queries, keys and values `dense` to `dense_2`",
        fill=filled.segformer,
    ),
    Architecture("Swin", _HF, _HUB, images.swin, converter=True),
    Architecture("ViT, one kernel for q, k and v", _HF, "own", fused.vit),
    Architecture("CLIP, texts", _HF, _HUB, written.clip_text),
    Architecture("BERT", _HF, _HUB, encoders.bert, converter=True),
    Architecture("DistilBERT", _HF, _HUB, encoders.distilbert, converter=True),
    Architecture("ALBERT", _HF, _HUB, encoders.albert, converter=True),
    Architecture(
        "ELECTRA",
        _HF,
        _HUB,
        encoders.electra,
        left="the target has a pooler, and the source has none",
        fill=filled.none,
    ),
    Architecture(
        "RoBERTa",
        _HF,
        _HUB,
        encoders.roberta,
        left=_TABLE,
        fill=filled.roberta,
        unused=("embeddings.token_type_embeddings.weight", "embeddings.position_embeddings.weight"),
    ),
    Architecture(
        "XLM-RoBERTa",
        _HF,
        _HUB,
        encoders.xlm_roberta,
        left=_TABLE,
        fill=filled.roberta,
        unused=("embeddings.token_type_embeddings.weight", "embeddings.position_embeddings.weight"),
        converter=True,
    ),
    Architecture(
        "DeBERTa V3",
        _HF,
        _HUB,
        encoders.deberta,
        left="the names of the norms are as much like one as like the other",
        fill=filled.deberta,
    ),
    Architecture("MPNet", _HF, "own", written.mpnet),
    Architecture("ESM-2", _HF, _HUB, encoders.esm, unused=("contact_head.*",)),
    Architecture("FNet", _HF, _HUB, encoders.fnet),
    Architecture("T5", _HF, _HUB, encoders.t5),
    Architecture(
        "BART",
        _HF,
        _HUB,
        encoders.bart,
        left=_TABLE,
        fill=filled.bart,
        unused=("*.embed_positions.weight",),
    ),
    Architecture("Whisper", _HF, _HUB, encoders.whisper),
    Architecture("GPT-2", _HF, _HUB, decoders.gpt2, converter=True),
    Architecture("GPT-NeoX", _HF, _HUB, decoders.gpt_neox),
    Architecture(
        "OPT",
        _HF,
        _HUB,
        decoders.opt,
        left=_TABLE,
        fill=filled.opt,
        unused=("decoder.embed_positions.weight",),
    ),
    Architecture("BLOOM", _HF, _HUB, decoders.bloom),
    Architecture("Falcon", _HF, _HUB, decoders.falcon),
    Architecture("Falcon, all heads with one key", _HF, "own", fused.falcon_one_key),
    Architecture("Falcon, groups of heads", _HF, "own", fused.falcon_groups),
    Architecture("GPT-NeoX, q, k and v apart", _HF, "own", fused.gpt_neox),
    Architecture(
        "GPT-NeoX, kernels of two axes",
        _HF,
        "own",
        fused.gpt_neox_flat,
        left=_HEADS,
        fill=filled.gpt_neox,
        unused=("*.query_key_value.*",),
    ),
    Architecture("Llama", _HF, _HUB, decoders.llama),
    Architecture("Llama 3", _HF, _HUB, decoders.llama3, converter=True),
    # The converter of keras-hub rounds its values to float16.
    Architecture("Mistral", _HF, _HUB, decoders.mistral),
    Architecture("Mixtral", _HF, _HUB, decoders.mixtral),
    Architecture("Qwen2", _HF, _HUB, decoders.qwen2, converter=True),
    Architecture("Qwen3", _HF, _HUB, decoders.qwen3, converter=True),
    Architecture(
        "SmolLM3",
        _HF,
        _HUB,
        decoders.smollm3,
        left=f"`*/rotary_embedding/vars/0`: {_MADE_ANEW}",
        fill=filled.none,
    ),
    Architecture("Phi-3", _HF, _HUB, decoders.phi3),
    Architecture("Gemma", _HF, _HUB, decoders.gemma, converter=True),
    Architecture("Gemma 2", _HF, _HUB, decoders.gemma2),
    Architecture("Gemma 3", _HF, _HUB, decoders.gemma3),
    Architecture("nn.TransformerEncoder", "own", "own", small.transformer_encoder),
    Architecture("LSTM tagger, both directions", "own", "own", small.lstm),
    Architecture("GRU tagger, both directions", "own", "own", small.gru),
    Architecture("RNN tagger, three layers", "own", "own", small.rnn),
]


def table() -> str:
    """The table as docs/from-pytorch.md has it."""
    lines = ["| architecture | from | into | |", "| --- | --- | --- | --- |"]
    for each in ARCHITECTURES:
        found = "complete" if not each.left else each.left
        lines.append(f"| {each.name} | {each.source} | {each.target} | {found} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
