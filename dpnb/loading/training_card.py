"""Model cards that training scripts write, by the names and arguments that they use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

TO_SAY = """
{description}

What this model was trained on, what it is meant for, where it fails, and under which license it
may be used, is yet to be said by its author.
"""


def load_or_create_model_card(
    repo_id_or_path: str | None = None,
    token: str | None = None,
    is_pipeline: bool = False,
    from_training: bool = False,
    model_description: str | None = None,
    base_model: str | None = None,
    prompt: str | None = None,
    license: str | None = None,
    widget: list[dict[str, Any]] | None = None,
    inference: bool | None = None,
    is_modular: bool = False,
    update_model_card: bool = False,
) -> ModelCard:
    """The card of a repository, or a new one where it has none.

    Args:
        repo_id_or_path: of the repository, or the card's file.
        token: an access token.
        is_pipeline: whether a new card is that of a pipeline, and not of a network.
        from_training: whether a training script asks, which knows the facts that follow.
        model_description: what a new card says.
        base_model: what was trained on.
        prompt: by which a subject was taught.
        license: of the model.
        widget: examples for the model's page.
        inference: whether that page may draw.
        is_modular: whether the pipeline is put together of blocks.
        update_model_card: whether a card that is there gets the description that a new one would.
    """
    from huggingface_hub import ModelCard, ModelCardData
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

    kind = "model" if not is_pipeline else "modular pipeline" if is_modular else "pipeline"
    text = TO_SAY.format(description=model_description or f"A {kind} in the format of diffusers.")
    try:
        card: ModelCard = ModelCard.load(str(repo_id_or_path), token=token)
    except (EntryNotFoundError, RepositoryNotFoundError):
        facts: dict[str, Any] = {}
        if from_training:
            facts = {"license": license, "library_name": "diffusers", "base_model": base_model}
            facts |= {"inference": inference, "instance_prompt": prompt, "widget": widget}
        card = ModelCard(f"---\n{ModelCardData(**facts).to_yaml()}\n---\n{text}")
    if update_model_card:
        card.text = text
    return card


def populate_model_card(
    model_card: ModelCard, tags: str | Sequence[str] | None = None
) -> ModelCard:
    """Add the library's name, where a card has none, and tags; the card itself is returned.

    Args:
        model_card: the card.
        tags: one or several.
    """
    facts: Any = model_card.data
    facts.library_name = facts.library_name or "diffusers"
    if tags is not None:
        new = [tags] if isinstance(tags, str) else [*tags]
        facts.tags = [*(facts.tags or []), *new]
    return model_card
