"""Networks out of files in their authors' layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Self

from dpnb.devices import Device, parse_device, parse_dtype
from dpnb.errors import CheckpointError
from dpnb.loading.checkpoint_files import read_checkpoint_json
from dpnb.loading.hub import HubOptions
from dpnb.loading.original_file import OriginalFile, fetch_settings
from dpnb.loading.original_layout import convert_part
from dpnb.loading.weights.meta_init import Extent, init_on_meta

COMPONENTS: Mapping[str, str] = {
    "AutoencoderKL": "vae",
    "FluxTransformer2DModel": "transformer",
    "UNet2DConditionModel": "unet",
}
"""The networks that are taken out of such files, and what pipelines call them."""


class FromSingleFile(nn.Module):
    """A network that is taken out of a file in its authors' layout."""

    config_name: ClassVar[str]

    @classmethod
    def from_single_file(
        cls,
        pretrained_model_link_or_path_or_dict: str | Path | Mapping[str, Tensor],
        *,
        config: str | Path | None = None,
        subfolder: str | None = None,
        original_config: None = None,
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        device: Device | None = None,
        **options: Any,
    ) -> Self:
        """Load the network out of a file, in evaluation mode.

        Args:
            pretrained_model_link_or_path_or_dict: the file's path, its address on the hub, or its
                tensors.
            config: the folder or the repository that has the settings; by default the repository
                of the family that the file's tensors are of.
            subfolder: of the settings; what pipelines call the network by default.
            original_config: must be `None`.
            dtype: of the floating-point weights; float32 by default.
            torch_dtype: the same, by its former name.
            device: where the weights go; the CPU by default.
            options: settings that override those of `config`, and fields of `HubOptions`.

        Raises:
            CheckpointError: the file does not hold this network.
            ValueError: settings are to be read from a file of another form.
        """
        if cls.__name__ not in COMPONENTS or original_config is not None:
            raise ValueError(
                f"dpnb takes {', '.join(sorted(COMPONENTS))} out of single files, with settings "
                "in the form of config=; leave original_config out."
            )
        hub, changes = HubOptions.split(options)
        source = pretrained_model_link_or_path_or_dict
        chosen = parse_dtype(dtype or torch_dtype or torch.float32)
        place = None if device is None else parse_device(device)
        file = (
            OriginalFile(Path("the tensors"), {k: v.to(place, chosen) for k, v in source.items()})
            if isinstance(source, Mapping)
            else OriginalFile.read(source, hub, dtype=chosen, device=place)
        )
        component = subfolder or COMPONENTS[cls.__name__]
        folder = _settings_folder(config or file.usual_settings, component, hub, cls.config_name)
        return cls.convert(file, component, folder, changes)

    @classmethod
    def convert(
        cls, file: OriginalFile, component: str, folder: Path, changes: Mapping[str, Any]
    ) -> Self:
        """The network that a pipeline calls `component`, with the settings in `folder`."""
        kind: Any = cls
        settings = {**read_checkpoint_json(folder / cls.config_name), **changes}
        with init_on_meta(Extent.around(file.tensors)):
            model = kind.from_config(settings)
        weights = convert_part(component, cls.__name__, model.state_dict(), file.tensors)
        model.assign(weights, file.path)
        network: Self = model.eval()
        return network


def _settings_folder(place: str | Path, component: str, hub: HubOptions, name: str) -> Path:
    """Where the settings of a network are: in a folder of their own, or of a pipeline."""
    folder = fetch_settings(place, hub)
    found = [inner for inner in (folder / component, folder) if (inner / name).is_file()]
    if not found:
        raise CheckpointError(
            f"{place} has no {name} of a {component}; give the folder or the repository that has "
            "it as config, and its folder there as subfolder."
        )
    return found[0]
