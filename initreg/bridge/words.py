"""The words and numbers of the names of layers, and how alike two names are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

Token = str | int

_TOKEN = re.compile(
    r"[a-z]*[123]d(?![a-z0-9])|(?<=\d)[a-z](?![A-Za-z0-9])|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+"
)
# Words that name the kind of a layer or of a container, and not which one of them it is.
_GENERIC_WORDS = (
    "model module network net layer layers block blocks blk conv conv1d conv2d conv3d linear dense "
    "fc weight kernel bias unit stack sequential functional cell h self lm"
)
_GENERIC = frozenset(_GENERIC_WORDS.split())
# Words of different programs for the same thing. The first one stands for all.
_SAME = (
    "query q wq qproj",
    "key k wk kproj",
    "value v wv vproj",
    "attention attn mha selfattention",
    "norm layernorm ln layernormalization normalization rmsnorm",
    "batchnorm bn batchnormalization",
    "embedding emb embed embeddings embedder embd",
    "token word wte tokens vocab shared",
    "position positional pos wpe",
    "segment type",
    "class cls",
    "feedforward ffn mlp ff ffw",
    "output out o wo",
    "shortcut downsample residual skip",
    "depthwise dw dwconv",
    "pointwise pw pwconv",
    "expand expansion",
    "project projection proj",
    "squeeze reduce reduction",
    "stem root",
    "classifier predictions head logits score reverse",
    "gate gating",
    "intermediate up wi cfc",
    "down",
    "encoder enc",
    "decoder dec",
    "cross encdec crossattention",
)
_ORDINALS = {
    word: n for n, word in enumerate(["first", "second", "third", "fourth", "fifth", "sixth"], 1)
}
_ORDINALS |= {"before": 1, "after": 2}  # the two norms of a block: layernorm_before, norm1
_CANONICAL = {word: group.split()[0] for group in _SAME for word in group.split()}
_FEEDFORWARD = next(frozenset(g.split()) for g in _SAME if g.startswith("feedforward"))
# What several words in a row say together.
_PHRASES = (
    (("enc", "dec", "attention"), ("cross", "attention")),
    (("c", "attn"), ("attention", "qkv")),
    (("c", "fc"), ("feedforward", "intermediate")),
    (("q", "proj"), ("query",)),
    (("k", "proj"), ("key",)),
    (("v", "proj"), ("value",)),
    (("o", "proj"), ("attention", "output")),
    (("out", "proj"), ("attention", "output")),
    (("query", "projector"), ("query",)),
    (("key", "projector"), ("key",)),
    (("value", "projector"), ("value",)),
    (("output", "projector"), ("attention", "output")),
    (("self", "attn"), ("self", "attention")),
    (("self", "attention"), ("attention",)),
    (("layer", "norm"), ("norm",)),
    (("batch", "norm"), ("batchnorm",)),
    (("multi", "head", "attention"), ("attention",)),
    (("gate", "proj"), ("feedforward", "gate")),
    (("up", "proj"), ("feedforward", "intermediate")),
    (("down", "proj"), ("feedforward", "down")),
    (("wi", 0), ("feedforward", "input")),  # T5: the one with the activation
    (("wi", 1), ("feedforward", "gate")),
    (("gating", 2), ("intermediate",)),  # Gemma in keras-hub
    (("feedforward", "output"), ("feedforward", "down")),
)
# In the blocks of transformers, which are numbered, or where a word says that it is this part. A
# model with layers fc1, fc2 and fc3 may be anything.
_IN_BLOCKS = tuple(
    ((word, number), ("feedforward", ("intermediate", "down")[number - 1]))
    for word in ("fc", "lin")
    for number in (1, 2)
)
# In decoders such as Llama's, which norm is meant, if the other side has no norm after its layers.
_BEFORE = (
    (("input", "layernorm"), ("attention", "norm")),
    (("post", "attention", "layernorm"), ("feedforward", "norm")),
)
_REMEMBERED = 1 << 14


@lru_cache(_REMEMBERED)
def tokens(name: str) -> tuple[Token, ...]:
    """The words of a name in lower case, and its numbers. A letter after a number counts, too, and
    so does ``first``.

    >>> tokens("layer1.0.conv2"), tokens("conv2d_3"), tokens("attention.output.LayerNorm")
    (('layer', 1, 0, 'conv', 2), ('conv2d', 3), ('attention', 'output', 'layer', 'norm'))
    """
    found: list[Token] = []
    for match in _TOKEN.finditer(name):
        text = match[0]
        at = match.start()
        if text.isdecimal():
            found.append(int(text))
        elif text.lower() in _ORDINALS:
            found.append(_ORDINALS[text.lower()])
        elif len(text) == 1 and at and name[at - 1].isdecimal():  # block2b comes after block2a
            found.append(ord(text) - ord("a"))
        else:
            found.append(text.lower())
    return tuple(found)


def template(name: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """A name with ``#`` for each number, and its numbers.

    >>> template("layer1.0.conv2")
    (('layer', '#', '#', 'conv', '#'), (1, 0, 2))
    """
    found = tokens(name)
    words = tuple("#" if isinstance(each, int) else each for each in found)
    return words, tuple(each for each in found if isinstance(each, int))


@lru_cache(_REMEMBERED)
def meaning(name: str, norms_come_before: bool = False) -> frozenset[str]:
    """The words of a name that say which layer it is, each as the word that stands for all that
    mean the same.

    Args:
        name: the name of a layer.
        norms_come_before: whether the norm after the attention is the one before the feed-forward
            layers, because there is no other one.

    >>> sorted(meaning("encoder.layer.3.attention.self.query"))
    ['attention', 'encoder', 'query']
    """
    if name == "output":  # the last layer of the decoders of Meta and of llama.cpp
        return frozenset(("output", "classifier"))
    found = list(tokens(name.replace("encoder_attn", "cross_attn")))  # of BART's decoder
    phrases = (*_BEFORE, *_PHRASES) if norms_come_before else _PHRASES
    if any(isinstance(each, int) or each in _FEEDFORWARD for each in found[:-1]):
        phrases = (*phrases, *_IN_BLOCKS)
    for phrase, said in phrases:
        size, at = len(phrase), 0
        while at + size <= len(found):
            if tuple(found[at : at + size]) == phrase:
                found[at : at + size] = said
            at += 1
    words = (_CANONICAL.get(each, each) for each in found if isinstance(each, str))
    return frozenset(each for each in words if each not in _GENERIC)


def alike(one: frozenset[str], other: frozenset[str]) -> float:
    """How alike two sets of words are: 1 for each word that both have, and for words with the same
    beginning, such as ``pooler`` and ``pooled``, a half; less a little for each other word."""
    both = one & other
    score = float(len(both))
    mine, theirs = one - both, set(other - both)
    alone = 0
    for word in sorted(mine):
        near = next((each for each in sorted(theirs) if _same_stem(word, each)), None)
        if near is None:
            alone += 1
        else:
            theirs.discard(near)
            score += 0.5
    return score - 0.1 * (alone + len(theirs))


def _same_stem(one: str, other: str) -> bool:
    size = min(len(one), len(other), 4)
    return size == 4 and one[:4] == other[:4]


def in_common(names: Iterable[frozenset[str]]) -> frozenset[str]:
    """The words that all names have. They say nothing about which one is meant."""
    found = list(names)
    return frozenset.intersection(*found) if found else frozenset()
