"""What a pipeline is made of, read from the signature of its constructor."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dpnb.errors import ComponentError
from dpnb.validation import validate


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

    def parse_settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Those of `given` that are settings, each a plain value of its default's type, or `None`.

        Raises:
            ValueError: one is not.
        """
        own = {name: given[name] for name in self.settings if name in given}
        for name, value in own.items():
            kind = type(self.settings[name])
            if value is not None and kind in (bool, int, float, str):
                own[name] = validate(kind, value, name)
        return own


def schema_of(constructor: Callable[..., None], optional: Iterable[str]) -> Schema:
    """The schema that a constructor's signature describes.

    Args:
        constructor: a pipeline class's `__init__`.
        optional: the components that may be `None`.
    """
    parameters = list(inspect.signature(constructor).parameters.values())[1:]
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    may_lack = frozenset(optional)
    components = tuple(p.name for p in named if p.default is p.empty or p.name in may_lack)
    return Schema(
        components=components,
        optional=may_lack & set(components),
        settings={p.name: p.default for p in named if p.name not in components},
    )
