"""Settings that only other variants of a network have."""

from collections.abc import Mapping, Sequence
from typing import Any


def require(
    class_name: str, config: Mapping[str, Any], supported: Mapping[str, Sequence[Any]]
) -> None:
    """Refuse a configuration that asks for what `class_name` does not build.

    Raises:
        ValueError: a setting has a value other than those listed for it in `supported`.
    """
    for name, values in supported.items():
        if config[name] not in values:
            raise ValueError(
                f"{class_name} does not support {name}={config[name]!r}; it supports "
                f"{' or '.join(repr(value) for value in values)}."
            )
