"""Model cards: the README.md of a repository, with facts in YAML at its top."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dpnb.errors import CheckpointError, DpnbError
from dpnb.files import MAX_JSON, read_text
from dpnb.loading.checkpoint_files import check_checkpoint_file
from dpnb.loading.checkpoint_paths import check_inside
from dpnb.loading.hub import HubOptions, fetch_file, find_cached_file, local_folder

CARD = "README.md"
"""The model card's file."""

MAX_CARD = 1 << 20
"""Bytes of a card that is read for its examples; a long one has a tenth of them."""

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


def read_card(name: str | Path) -> str:
    """The text of a model card that is on this machine; nothing is fetched.

    Args:
        name: a folder, or a repository, whose card may lie in the hub's cache.

    Returns:
        Nothing where there is no card, or none that may be read.
    """
    try:
        folder = local_folder(name)
        return _read(find_cached_file(str(name), CARD) if folder is None else folder / CARD)
    except (DpnbError, OSError, ValueError):
        return ""


def fetch_card(name: str | Path, options: HubOptions) -> str:
    """The same, fetched where `name` is a repository; nothing where the hub does not give it."""
    try:
        if local_folder(name) is None:
            return _read(fetch_file(str(name), [CARD], options))
    except (DpnbError, OSError, ValueError):
        return ""
    return read_card(name)


def _read(path: Path | None) -> str:
    return "" if path is None else read_text(check_inside(path), MAX_CARD)


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
