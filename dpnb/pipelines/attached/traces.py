"""What attaching leaves at components, and its removal."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import cache
from typing import Any, cast
from weakref import ref

from dpnb.strategies.attachment import Attachment
from dpnb.switchboard import ATTRIBUTE


class Traces:
    """Components that an attached pipeline has, or has had.

    Args:
        parts: the components of the pipeline.
    """

    def __init__(self, parts: Mapping[str, Any]) -> None:
        self._seen: dict[int, ref[Any]] = {}
        self.note(parts)

    def note(self, parts: Mapping[str, Any]) -> None:
        """Components have come that may be new."""
        for part in parts.values():
            if part is not None and _has_attributes(cast(Hashable, type(part))):
                self._seen[id(part)] = ref(part)

    def remove(self) -> None:
        """Take the attachments away that nobody uses any more."""
        for held in self._seen.values():
            part = held()
            attachment = None if part is None else vars(part).get(ATTRIBUTE)
            if isinstance(attachment, Attachment) and attachment.is_unused:
                del vars(part)[ATTRIBUTE]
        self._seen.clear()


@cache
def _has_attributes(kind: type) -> bool:
    """Whether objects of a class have attributes of their own, and may be remembered weakly."""
    return {"__dict__", "__weakref__"} <= set(dir(kind))
