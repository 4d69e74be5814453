"""The dtype that `"auto"` means, whatever a checkpoint's files hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import dpnb
from dpnb.errors import CheckpointError
from dpnb.loading.weights.common_dtype import cast_to_common_dtype, find_common_dtype

pytestmark = pytest.mark.exhaustive

FAMILIES = ("tiny-sd", "tiny-sdxl", "tiny-flux", "tiny-ldm")

FLOAT8 = torch.float8_e4m3fn


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp(request.param)
    pipe: Any = dpnb.random_pipeline(request.param)
    pipe.save_pretrained(place)
    return place


def rewritten(folder: Path, place: Path, change: Callable[[int, Tensor], Tensor]) -> Path:
    """A copy of a checkpoint with each of its weights changed, by its number in its file."""
    import shutil

    shutil.copytree(folder, place)
    for file in place.rglob("*.safetensors"):
        state = load_file(file)
        save_file({key: change(i, state[key]) for i, key in enumerate(sorted(state))}, file)
    return place


def dtypes(pipe: Any) -> set[torch.dtype]:
    networks = [part for part in pipe.components.values() if isinstance(part, nn.Module)]
    return {p.dtype for network in networks for p in network.parameters()}


def draw(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    settings = {"num_inference_steps": 1, "height": 16, "width": 16, "output_type": "np"}
    return pipe("a cat", generator=torch.Generator().manual_seed(0), **settings).images


def test_weights_of_several_dtypes_are_loaded_in_that_of_most(folder: Path, tmp_path: Path) -> None:
    def mixed(i: int, tensor: Tensor) -> Tensor:
        return tensor.to(torch.float32 if tensor.ndim == 1 or i % 5 == 0 else torch.bfloat16)

    place = rewritten(folder, tmp_path / "mixed", mixed)
    pipe = dpnb.DiffusionPipeline.from_pretrained(place, torch_dtype="auto")
    assert dtypes(pipe) == {torch.bfloat16}
    plain = dpnb.DiffusionPipeline.from_pretrained(place, torch_dtype=torch.bfloat16)
    assert np.array_equal(draw(pipe), draw(plain))


def test_float8_weights_are_widened(folder: Path, tmp_path: Path) -> None:
    def narrow(i: int, tensor: Tensor) -> Tensor:
        return tensor.to(FLOAT8)

    place = rewritten(folder, tmp_path / "narrow", narrow)
    pipe = dpnb.DiffusionPipeline.from_pretrained(place, torch_dtype="auto")
    assert dtypes(pipe) == {torch.bfloat16}
    assert np.isfinite(draw(pipe)).all()


@pytest.mark.slow
def test_a_checkpoint_of_several_dtypes_is_planned_in_that_of_most(
    folder: Path, tmp_path: Path
) -> None:
    def mixed(i: int, tensor: Tensor) -> Tensor:
        return tensor.to((torch.float16, FLOAT8, torch.float16)[i % 3])

    def halved(i: int, tensor: Tensor) -> Tensor:
        return tensor.half()

    peaks = []
    for name, change in (("mixed", mixed), ("half", halved)):
        place = rewritten(folder, tmp_path / name, change)
        settings: dict[str, Any] = {
            "height": 16,
            "width": 16,
            "steps": 1,
            "device": "RTX 3060",
            "plans": [frozenset()],
        }
        table = dpnb.plan(place, dtype="auto", **settings)
        peaks.append(table.rows[0].peaks)
    assert peaks[0] == peaks[1]


def test_components_may_have_dtypes_of_their_own(folder: Path, tmp_path: Path) -> None:
    pipe: Any = dpnb.DiffusionPipeline.from_pretrained(folder)
    denoiser = next(name for name in ("transformer", "unet") if name in pipe.components)
    getattr(pipe, denoiser).to(torch.bfloat16)
    pipe.save_pretrained(tmp_path)
    again: Any = dpnb.DiffusionPipeline.from_pretrained(tmp_path, torch_dtype="auto")
    assert getattr(again, denoiser).dtype == torch.bfloat16
    assert dtypes(again) == {torch.bfloat16, torch.float32}
    assert np.isfinite(draw(again)).all()


def test_weights_of_whole_numbers_are_refused(folder: Path, tmp_path: Path) -> None:
    def counted(i: int, tensor: Tensor) -> Tensor:
        return tensor.to(torch.int32) if tensor.ndim == 2 else tensor

    place = rewritten(folder, tmp_path / "whole", counted)
    with pytest.raises(CheckpointError, match=r"is stored as torch.int32, where the model has"):
        dpnb.DiffusionPipeline.from_pretrained(place)


def test_the_wider_of_two_equally_common_dtypes_is_chosen() -> None:
    state = {"a": torch.zeros(2, dtype=torch.float16), "b": torch.zeros(2), "c": torch.arange(9)}
    assert find_common_dtype(state) == torch.float32
    cast = cast_to_common_dtype(state)
    assert [t.dtype for t in cast.values()] == [torch.float32, torch.float32, torch.int64]
    assert cast["b"] is state["b"]
    assert find_common_dtype({"c": torch.arange(3)}) is None
    assert cast_to_common_dtype({"c": state["c"]})["c"] is state["c"]
