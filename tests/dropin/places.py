"""What scripts find: small checkpoints in folders and on a hub, pictures, low-rank weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import load_file, save_file

import dpnb
from tests.hub_server import serve
from tests.reference import checkpoints, original_files

FAMILIES = {"SD": "sd1", "SD2": "sd2", "XL": "sdxl"}

SHAPES = {"FLUX": "tiny-flux", "LDM": "tiny-ldm"}

ON_HUB = ("SD", "XL")


@contextmanager
def open_places(folder: Path) -> Iterator[dict[str, Any]]:
    """The names that scripts know, for what stands in `folder` and on a hub within."""
    places: dict[str, Any] = {name: str(folder / name) for name in (*FAMILIES, *SHAPES)}
    for name, family in FAMILIES.items():
        checkpoints.write(folder / name, family)
    for name, shape in SHAPES.items():
        dpnb.random_pipeline(shape).save_pretrained(folder / name)
    for name, family in (("FILE_SD", "SD2"), ("FILE_XL", "XL")):
        places[name] = str(folder / "files" / f"{family}.safetensors")
        original_files.write_original(folder / family, Path(places[name]))
    places["FLUX_SCALE"] = 2
    places |= _draw_pictures(folder) | {"LORA": _write_lora(folder)}
    with serve() as hub:
        for name in ON_HUB:
            places[f"HUB_{name}"] = f"owner/{name.lower()}"
            hub.add(places[f"HUB_{name}"], folder / name)
        address = hub.url + constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)
        with (
            patch.object(constants, "ENDPOINT", hub.url),
            patch.object(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address),
            patch.dict("os.environ", {"HF_ENDPOINT": hub.url}),
        ):
            yield places


def _draw_pictures(folder: Path) -> dict[str, Any]:
    """A picture of 32 × 32 pixels with a gradient in each colour, and a mask of its right half."""
    ramp = np.linspace(0, 255, 32, dtype=np.uint8)
    levels = np.stack(np.broadcast_arrays(ramp[:, None], ramp, ramp[::-1, None]), axis=-1)
    mask = np.zeros((32, 32), dtype=np.uint8)
    mask[:, 16:] = 255
    Image.fromarray(levels).save(folder / "picture.png")
    Image.fromarray(mask).save(folder / "mask.png")
    return {"PICTURE": str(folder / "picture.png"), "MASK": str(folder / "mask.png")}


def _write_lora(folder: Path) -> str:
    """Low-rank weights for the queries of the UNet of `SD`."""
    path = folder / "lora" / "pytorch_lora_weights.safetensors"
    path.parent.mkdir()
    generator = torch.Generator().manual_seed(5)
    weights = load_file(folder / "SD/unet/diffusion_pytorch_model.safetensors")
    tensors = {}
    for name, weight in weights.items():
        if name.endswith("to_q.weight"):
            key = f"unet.{name.removesuffix('.weight')}"
            rows, columns = weight.shape
            tensors[f"{key}.lora_A.weight"] = torch.randn(2, columns, generator=generator)
            tensors[f"{key}.lora_B.weight"] = torch.randn(rows, 2, generator=generator)
    save_file(tensors, path)
    return str(path.parent)
