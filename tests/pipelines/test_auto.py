"""The pipeline of a task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import dpnb
from dpnb.errors import CheckpointError, ComponentError
from dpnb.loading.components.registry import OURS
from dpnb.pipelines.auto import FAMILIES
from tests.strategies.pipes import build

AUTO = (
    dpnb.AutoPipelineForText2Image,
    dpnb.AutoPipelineForImage2Image,
    dpnb.AutoPipelineForInpainting,
)


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("name", [family[0] for family in FAMILIES if all(family)])
def test_every_family_has_every_task(name: str, place: int) -> None:
    assert AUTO[place].choose_class(getattr(dpnb, name)).__name__ in OURS


def test_a_class_of_no_task_goes_by_its_family() -> None:
    found = AUTO[0].choose_class(dpnb.StableDiffusionSAGPipeline)
    assert found is dpnb.StableDiffusionPipeline


def test_weights_are_shared_and_what_is_on_stays_on() -> None:
    pipe = build("tiny-sd")
    pipe.strategies.enable(dpnb.VaeSlicing())
    edit: Any = AUTO[1].from_pipe(pipe)
    assert type(edit) is dpnb.StableDiffusionImg2ImgPipeline
    assert edit.unet is pipe.unet
    assert edit.strategies.active == {dpnb.VaeSlicing()}


def test_a_family_without_the_task_is_refused(tmp_path: Path) -> None:
    build("tiny-ldm").save_pretrained(tmp_path / "ldm")
    with pytest.raises(ComponentError, match="LDMTextToImagePipeline has no sibling for inpaint"):
        AUTO[2].from_pretrained(tmp_path / "ldm")


def test_a_foreign_class_is_named_with_the_way_to_attach_it(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(
        '{"_class_name": "ZImagePipeline", "_diffusers_version": "0.42.1"}'
    )
    with pytest.raises(CheckpointError, match=r"dpnb.attach\(diffusers.ZImagePipeline"):
        AUTO[0].from_pretrained(tmp_path)


def test_it_is_none_to_build() -> None:
    with pytest.raises(TypeError, match=r"call AutoPipelineForText2Image.from_pretrained\(...\)"):
        AUTO[0]()
