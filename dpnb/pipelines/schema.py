"""What a pipeline is made of, read from the signature of its constructor."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from dpnb.errors import ComponentError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from dpnb.pipelines.pipeline import DiffusionPipeline


@dataclass(frozen=True)
class Schema:
    """The names in a pipeline's signature.

    Args:
        components: its parts, in the order of the signature.
        optional: those of them that may be `None`.
        settings: plain values, with their defaults.
    """

    components: tuple[str, ...]
    optional: frozenset[str]
    settings: Mapping[str, Any]

    def check(self, class_name: str, given: Collection[str]) -> None:
        """Refuse to build without a required component.

        Raises:
            ComponentError: one is not in `given`.
        """
        missing = [c for c in self.components if c not in given and c not in self.optional]
        if missing:
            raise ComponentError(
                f"{class_name} needs {', '.join(self.components)}; {', '.join(missing)} is "
                f"missing. Pass it by name, for example {missing[0]}=..."
            )


@cache
def schema_of(pipeline: type[DiffusionPipeline]) -> Schema:
    """The schema of a pipeline class."""
    parameters = dict(inspect.signature(pipeline.__init__).parameters)
    parameters.pop("self")
    optional = frozenset(pipeline._optional_components)
    named = [p for p in parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    components = tuple(p.name for p in named if p.default is p.empty or p.name in optional)
    return Schema(
        components=components,
        optional=optional & set(components),
        settings={p.name: p.default for p in named if p.name not in components},
    )
