"""The words to which an adapter answers, as its trainer has noted them in the file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

MOST = 8
"""How many of the tags are told: those with which most pictures were described."""


def list_trigger_words(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The words that call up what an adapter was trained on, the surest first.

    Args:
        metadata: of a safetensors file, with the fields of the `modelspec` standard and of kohya's
            scripts. What cannot be read is passed over.

    Returns:
        The phrase that its author names, the most frequent tags of the pictures, and the adapter's
        name; each once.
    """
    words = [
        metadata.get("modelspec.trigger_phrase", ""),
        *_frequent_tags(metadata.get("ss_tag_frequency", "")),
        metadata.get("ss_output_name", ""),
    ]
    return tuple(dict.fromkeys(stripped for word in words if (stripped := word.strip())))


def _frequent_tags(text: str) -> list[str]:
    try:
        folders = json.loads(text)
    except (ValueError, RecursionError):
        return []
    counts: Counter[str] = Counter()
    for tags in folders.values() if isinstance(folders, dict) else ():
        for tag, count in tags.items() if isinstance(tags, dict) else ():
            counts[tag.strip()] += _to_count(count)
    return [tag for tag, count in counts.most_common(MOST) if count > 0]


def _to_count(value: Any) -> int:
    return value if isinstance(value, int) else 0
