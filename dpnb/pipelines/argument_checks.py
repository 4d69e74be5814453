"""Checks of the texts, embeddings and latents that a call is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dpnb.errors import ComponentError

LONGEST = 20_000
"""Characters of a prompt; text encoders read a few hundred words."""

AXES = {"pooled_prompt_embeds": 2, "negative_pooled_prompt_embeds": 2}
"""Of embeddings that do not have three."""


def check_text(name: str, texts: object) -> None:
    """Refuse a prompt that is neither text nor a list of texts, or cannot be encoded.

    Raises:
        TypeError: it is none.
        ValueError: it is far too long, or holds a half of a character.
    """
    if texts is None:
        return
    for entry in texts if isinstance(texts, list) else [texts]:
        if not isinstance(entry, str):
            raise TypeError(
                f"{name} must be text or a list of texts, not {_brief(entry)} of type "
                f'{type(entry).__name__}; write for example "a red apple".'
            )
        if len(entry) > LONGEST:
            raise ValueError(
                f"{name} has {len(entry)} characters, of which a text encoder reads a few hundred; "
                f"give at most {LONGEST}."
            )
        if not entry.isascii() and any("\ud800" <= c <= "\udfff" for c in entry):
            raise ValueError(
                f"{name} holds a lone surrogate, which is half of a character: {_brief(entry)}; "
                'decode the text anew, or leave it out with .encode("utf-8", "ignore").decode().'
            )


def check_tensors(arguments: Mapping[str, Any]) -> None:
    """Refuse embeddings and latents that are no finite numbers, or have other axes.

    Args:
        arguments: of a call, by name.

    Raises:
        TypeError: one is no tensor of floating-point numbers.
        ValueError: it holds NaN or infinity, or has too few or too many axes.
    """
    for name, given in _given(arguments, "_embeds", "latents"):
        if not isinstance(given, Tensor) or not given.is_floating_point():
            kind = given.dtype if isinstance(given, Tensor) else type(given).__name__
            raise TypeError(f"{name} is of {kind}; give a tensor of floating-point numbers.")
        axes = AXES.get(name, 3)
        if name.endswith("_embeds") and given.ndim != axes:
            form = "[batch, tokens, channels]" if axes == 3 else "[batch, channels]"
            raise ValueError(f"{name} has shape {tuple(given.shape)}; it must be {form}.")
        if not bool(given.isfinite().all()):
            raise ValueError(f"{name} holds NaN or infinity; give finite numbers.")


def check_batches(arguments: Mapping[str, Any], count: int) -> None:
    """Refuse texts and embeddings that are not one for each prompt.

    Args:
        arguments: of a call, by name.
        count: how many prompts there are.

    Raises:
        ValueError: there are more or fewer.
    """
    for name, given in _given(arguments, "prompt", "prompt_2", "_embeds"):
        if not isinstance(given, (list, Tensor)) or len(given) == count:
            continue
        what = "texts" if isinstance(given, list) else "entries"
        remedy = ", or a single text for all" if isinstance(given, list) else ""
        raise ValueError(
            f"{name} has {len(given)} {what} for {count} prompts; give one for each{remedy}."
        )


def check_width(name: str, embeds: object, width: object, network: str) -> None:
    """Refuse embeddings of other channels than a network takes.

    Args:
        name: of the argument.
        embeds: what it was given.
        width: the channels that are taken; not one number where blocks take several.
        network: what takes them.

    Raises:
        ValueError: they have others.
    """
    if not isinstance(embeds, Tensor) or not isinstance(width, int):
        return
    if embeds.shape[-1] != width:
        raise ValueError(
            f"{name} has {embeds.shape[-1]} channels, and the {network} takes {width}; use the "
            "text encoders that belong to it."
        )


def check_channels(network: str, taken: int, needed: int, does: str, parts: str) -> None:
    """Refuse a network that was not made to see what a pipeline shows it.

    Args:
        network: what it is, for a person.
        taken: the channels that it takes.
        needed: those that it is shown.
        does: what a network does that takes so many.
        parts: what the channels are of, and what else there is to say.

    Raises:
        ComponentError: they are not as many.
    """
    if taken != needed:
        raise ComponentError(
            f"the {network} takes {taken} channels; one that {does} takes {needed}, of {parts}."
        )


def _given(arguments: Mapping[str, Any], *endings: str) -> list[tuple[str, Any]]:
    """The arguments with names of these endings that are not `None`."""
    return [
        (n, value) for n, value in arguments.items() if n.endswith(endings) and value is not None
    ]


def _brief(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}…"
