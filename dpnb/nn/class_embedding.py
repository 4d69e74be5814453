"""Embeddings of the class that a picture is to be of, or of how much noise one beside it has."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn

from dpnb.nn.activations import Activation
from dpnb.nn.embeddings import TimestepEmbedding, sinusoids
from dpnb.nn.inplace import silu

KINDS = (None, "timestep", "identity", "projection", "simple_projection")
"""What `class_embed_type` may be."""


class ClassSettings(Protocol):
    """What an embedding of classes reads of the settings of its network."""

    @property
    def class_embed_type(self) -> str | None:
        """One of `KINDS`."""
        ...

    @property
    def num_class_embeds(self) -> int | None:
        """How many classes there are, where each has a vector of its own."""
        ...

    @property
    def flip_sin_to_cos(self) -> bool:
        """Of sinusoids."""
        ...

    @property
    def freq_shift(self) -> float:
        """Of sinusoids."""
        ...


def make_class_embedding(
    config: ClassSettings,
    width: int,
    time_dim: int,
    label_dim: int | None = None,
    activate: Activation = silu,
) -> nn.Module | None:
    """The layer that embeds classes; `None` for networks that know none.

    Args:
        config: of the network.
        width: features of a timestep.
        time_dim: channels of the embedding.
        label_dim: channels of labels that are vectors.
        activate: between layers.

    Raises:
        ValueError: labels are vectors, and their channels are not known.
    """
    kind = config.class_embed_type
    if kind is None:
        count = config.num_class_embeds
        return None if count is None else nn.Embedding(count, time_dim)
    if kind == "timestep":
        return TimestepEmbedding(width, time_dim, activate=activate)
    if kind == "identity":
        return nn.Identity()
    if label_dim is None:
        raise ValueError(
            f"class_embed_type={kind!r} needs projection_class_embeddings_input_dim, the channels "
            "of the labels; give it beside."
        )
    return (
        TimestepEmbedding(label_dim, time_dim, activate=activate)
        if kind == "projection"
        else nn.Linear(label_dim, time_dim)
    )


def embed_classes(
    layer: nn.Module | None, config: ClassSettings, width: int, labels: Tensor | None, like: Tensor
) -> Tensor | None:
    """The embedding of `labels`, `[batch, time_dim]`; `None` for networks that know none.

    Args:
        layer: of `make_class_embedding`.
        config: of the network.
        width: features of a timestep.
        labels: numbers `[batch]`, or vectors `[batch, channels]`.
        like: in the dtype of the embedding, of as many entries.

    Raises:
        ValueError: labels are missing, or not wanted.
    """
    if layer is None:
        if labels is not None:
            raise ValueError(
                "class_labels has no effect on this network, which knows no classes; leave it out."
            )
        return None
    if labels is None:
        raise ValueError(
            "class_labels is missing; this network was trained with classes: give a number for "
            "each entry of the batch."
        )
    known: Any = labels.to(like.device)
    if config.class_embed_type == "timestep":
        known = sinusoids(
            known, width, flip_sin_to_cos=config.flip_sin_to_cos, freq_shift=config.freq_shift
        ).to(like.dtype)
    embedding: Tensor = layer(known)
    return embedding.to(like.dtype)
