"""One file with a whole pipeline or network in its authors' layout, and where its settings are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from dpnb.errors import CheckpointError
from dpnb.loading.filenames import WeightName
from dpnb.loading.hub import HubOptions, fetch, fetch_file
from dpnb.loading.weights.tensor_files import read_tensors

XL, SD2, SD1 = (
    "stabilityai/stable-diffusion-xl-base-1.0",
    "stabilityai/stable-diffusion-2-1",
    "stable-diffusion-v1-5/stable-diffusion-v1-5",
)
INPAINTING = "stable-diffusion-v1-5/stable-diffusion-inpainting"
REFINER = "stabilityai/stable-diffusion-xl-refiner-1.0"
FLUX_DEV, FLUX_SCHNELL = "black-forest-labs/FLUX.1-dev", "black-forest-labs/FLUX.1-schnell"

_ADDRESS = re.compile(
    r"(?:https?://(?:huggingface\.co|hf\.co)/)?([^/]+/[^/]+)/(?:blob|resolve)/([^/]+)/(.+)"
)
_SETTINGS = (".json", ".txt", ".model")


@dataclass(frozen=True, eq=False)
class OriginalFile:
    """The tensors of such a file.

    Attributes:
        path: the file.
        tensors: by the names that its authors gave them.
    """

    path: Path
    tensors: Mapping[str, Tensor]

    @classmethod
    def read(
        cls,
        place: str | Path,
        hub: HubOptions,
        *,
        dtype: torch.dtype | None,
        device: torch.device | None = None,
    ) -> OriginalFile:
        """Read a file.

        Args:
            place: its path, or its address on the hub.
            hub: how it comes from there.
            dtype: of floating-point weights; `None` keeps the file's.
            device: where they go; the CPU by default.

        Raises:
            CheckpointError: there is no such file, or it is damaged.
            HubError: the repository cannot be reached.
        """
        path = _find(place, hub)

        def choose(_: str, stored: torch.dtype) -> torch.dtype:
            return stored if dtype is None or not stored.is_floating_point else dtype

        return cls(path, dict(read_tensors(path, choose, device or torch.device("cpu"))))

    @property
    def usual_settings(self) -> str:
        """The repository whose settings a model of these shapes has."""
        names = self.tensors.keys()
        if any(".double_blocks." in f".{name}" for name in names):
            is_guided = any("guidance_in" in name for name in names)
            return FLUX_DEV if is_guided else FLUX_SCHNELL
        if any(name.startswith("conditioner.embedders.1.") for name in names):
            return XL
        if any(name.startswith("conditioner.embedders.0.model.") for name in names):
            return REFINER
        context = self._shape("input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight")
        if context[-1:] == (1024,):
            return SD2
        return INPAINTING if self._shape("input_blocks.0.0.weight")[1:2] == (9,) else SD1

    def _shape(self, name: str) -> tuple[int, ...]:
        tensor = self.tensors.get(f"model.diffusion_model.{name}", self.tensors.get(name))
        return () if tensor is None else tuple(tensor.shape)


def fetch_settings(place: str | Path, hub: HubOptions, subfolder: str = "") -> Path:
    """The folder with all settings of a repository, or of one part of it, and no weights."""

    def select(files: Sequence[str]) -> list[str]:
        prefix = f"{subfolder.strip('/')}/" if subfolder else ""
        return [
            name
            for name in files
            if name.startswith(prefix)
            and name.endswith(_SETTINGS)
            and WeightName.parse(PurePosixPath(name).name) is None
        ]

    return fetch(place, select, hub)


def _find(place: str | Path, hub: HubOptions) -> Path:
    path = Path(place).expanduser()
    if path.is_file():
        return path
    match = _ADDRESS.fullmatch(str(place))
    if match is None:
        raise CheckpointError(
            f"There is no file {place}; give its path, or its address on the hub: "
            "https://huggingface.co/owner/repository/blob/main/file.safetensors."
        )
    repository, revision, name = match.groups()
    fetched = fetch_file(repository, [name], HubOptions(**{**vars(hub), "revision": revision}))
    if fetched is None:
        raise CheckpointError(f"{repository} has no file {name}; check its name.")
    return fetched
