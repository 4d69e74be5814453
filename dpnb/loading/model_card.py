"""Model cards: the README.md of a repository, with facts in YAML at its top."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dpnb.errors import CheckpointError
from dpnb.files import MAX_JSON
from dpnb.loading.checkpoint_files import check_checkpoint_file
from dpnb.loading.checkpoint_paths import check_inside

CARD = "README.md"
"""The model card's file."""

CONNECTED = ("prior",)
"""The facts that name other pipelines, which are also what their components are prefixed with."""

_REPOSITORY = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")


def make_card(class_name: str, components: Mapping[str, str]) -> str:
    """A model card that says what a pipeline consists of, and that the rest is yet to be said.

    Args:
        class_name: of the pipeline.
        components: what each is, by name.
    """
    from huggingface_hub import ModelCardData

    facts: Any = ModelCardData(library_name="diffusers", tags=["dpnb"])
    rows = [f"| `{name}` | {what} |" for name, what in components.items()]
    lines = [
        "---",
        facts.to_yaml(),
        "---",
        "",
        f"# {class_name}",
        "",
        "This card was written when the pipeline was saved, and knows only what the files show.",
        "Its author has yet to say what it was trained on, what it is meant for, where it fails,",
        "and under which license it may be used.",
        "",
        "| component | |",
        "|---|---|",
        *rows,
        "",
        "It is in the format of diffusers, and loads with dpnb as well:",
        "",
        "```python",
        "from dpnb import DiffusionPipeline",
        "",
        'pipe = DiffusionPipeline.from_pretrained("the name of this repository or folder")',
        "```",
        "",
    ]
    return "\n".join(lines)


def read_connected_pipelines(folder: Path) -> dict[str, str]:
    """The repositories of other pipelines that the card in `folder` names, by prefix.

    Raises:
        CheckpointError: the card is not one, or names what is no repository.
    """
    import yaml
    from huggingface_hub import ModelCard

    path = check_inside(folder / CARD)
    if not path.is_file():
        return {}
    check_checkpoint_file(path, MAX_JSON)
    try:
        facts: Mapping[str, Any] = ModelCard.load(path, ignore_metadata_errors=True).data.to_dict()
    except (ValueError, yaml.YAMLError) as error:
        raise CheckpointError(
            f"{path} is no model card that can be read; correct the YAML at its top, or pass "
            "load_connected_pipeline=False."
        ) from error
    found: dict[str, str] = {}
    for prefix in CONNECTED:
        named = facts.get(prefix)
        first = named[0] if isinstance(named, list) and named else named
        if first is None or first == []:
            continue
        if not isinstance(first, str) or not _REPOSITORY.fullmatch(first):
            raise CheckpointError(
                f"{path} names {first!r} as its {prefix}, which is no repository's name; correct "
                f'it to the form "owner/repository", or pass load_connected_pipeline=False.'
            )
        found[prefix] = first
    return found
