"""The check for settings of network variants that are not built here."""

from collections.abc import Mapping, Sequence
from typing import Any


def check_supported(
    class_name: str, config: Mapping[str, Any], supported: Mapping[str, Sequence[Any]]
) -> None:
    """Check that the settings of `config` have values that `class_name` supports.

    Raises:
        ValueError: a setting has a value other than those listed for it in `supported`.
    """
    for name, values in supported.items():
        if config[name] not in values:
            raise ValueError(
                f"{class_name} does not support {name}={config[name]!r}; it supports "
                f"{' or '.join(repr(value) for value in values)}."
            )
