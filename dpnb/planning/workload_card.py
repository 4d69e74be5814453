"""The model card of whatever is planned for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dpnb.loading.model_card import fetch_card, read_card
from dpnb.pipelines.card_numbers import choose_numbers
from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.pipelines.shapes.architectures import ARCHITECTURES
from dpnb.pipelines.storage.options import LoadOptions
from dpnb.planning.loaded_pipelines import find_source


def find_card_numbers(
    model: Any, pipe: ExplorablePipeline, options: Mapping[str, Any]
) -> dict[str, float]:
    """The numbers that a model card shows in a call of a pipeline; see `choose_numbers`.

    Of a loaded pipeline only a card that is on this machine is read.

    Args:
        model: a loaded pipeline, a folder, a repository, or one of `ARCHITECTURES`.
        pipe: the same without weights.
        options: those of `from_pretrained` that say which files of a checkpoint are meant.
    """
    if isinstance(model, str) and model in ARCHITECTURES:
        return {}
    if isinstance(model, (str, Path)):
        chosen, _ = LoadOptions.parse_known(options)
        return choose_numbers(fetch_card(model, chosen.hub), pipe, str(model))
    name = find_source(model)
    return {} if name is None else choose_numbers(read_card(name), pipe, name)
