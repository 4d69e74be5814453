"""A network of whichever class its settings name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dpnb.errors import CheckpointError
from dpnb.loading.components.registry import resolve
from dpnb.loading.hub import HubOptions
from dpnb.loading.settings_files import load_settings


class AutoModel:
    """Loads networks, of ours and of transformers', by what a checkpoint says of their class."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Refuse.

        Raises:
            TypeError: always; it is no network itself.
        """
        raise TypeError(
            "AutoModel chooses a class and is none to build; call AutoModel.from_pretrained(...)."
        )

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> Any:
        """Load a network from a folder or from the hub.

        Args:
            pretrained_model_name_or_path: a folder, or a hub repository's name.
            options: `subfolder`, and those of the class.

        Raises:
            CheckpointError: nothing there says of which class it is.
        """
        name, subfolder = pretrained_model_name_or_path, options.get("subfolder")
        hub = HubOptions.split(options)[0]
        kind = _find_class(name, subfolder, vars(hub))
        return kind.from_pretrained(name, **options)


def _find_class(name: str | Path, subfolder: str | None, hub: dict[str, Any]) -> type[Any]:
    """The class that the settings of a network name."""
    settings = load_settings(name, "config.json", subfolder=subfolder, **hub)
    if class_name := settings.get("_class_name"):
        return resolve("diffusers", class_name)
    if architectures := settings.get("architectures"):
        return resolve("transformers", architectures[0])
    raise CheckpointError(
        f"config.json of {name} does not say of which class the network is; load it with "
        "from_pretrained of its class."
    )
