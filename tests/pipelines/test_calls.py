"""Calls and streams: the arguments that they take, and the types that an editor completes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import assert_type

import dpnb
from dpnb.pipelines.arguments import Arguments
from dpnb.pipelines.calls import make_call
from dpnb.pipelines.explored import drain
from dpnb.pipelines.flux import FluxPipelineOutput
from dpnb.pipelines.inpainting import InpaintingArguments
from dpnb.pipelines.pictures.images import ImagePipelineOutput
from dpnb.pipelines.stable_diffusion import StableDiffusionPipelineOutput
from dpnb.pipelines.stable_diffusion_edit import StableDiffusionInpaintArguments
from dpnb.pipelines.stable_diffusion_xl import StableDiffusionXLPipelineOutput
from dpnb.pipelines.text_to_image import Keys, TextToImagePipeline
from dpnb.stages import Stage, Step

OUTPUTS: dict[Any, type[Any]] = {
    dpnb.StableDiffusionPipeline: StableDiffusionPipelineOutput,
    dpnb.StableDiffusionXLPipeline: StableDiffusionXLPipelineOutput,
    dpnb.LDMTextToImagePipeline: ImagePipelineOutput,
    dpnb.FluxPipeline: FluxPipelineOutput,
}
SHAPES = ["tiny-sd", "tiny-sdxl", "tiny-ldm", "tiny-flux"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    dpnb.random_pipeline("tiny-sd").save_pretrained(folder)
    return folder


def test_a_class_loads_itself(folder: Path) -> None:
    pipe = dpnb.StableDiffusionPipeline.from_pretrained(folder)
    assert_type(pipe, dpnb.StableDiffusionPipeline)
    assert_type(pipe.unet, dpnb.UNet2DConditionModel)
    pipe.set_progress_bar_config(disable=True)
    output = pipe("a cat", num_inference_steps=1, output_type="latent")
    assert_type(output, StableDiffusionPipelineOutput)
    assert output.images.shape == (1, 4, 16, 16)
    steps = pipe.stream("a cat", num_inference_steps=1, output_type="latent")
    assert_type(steps, Iterator[Step[StableDiffusionPipelineOutput | None]])
    *_, last = steps
    assert_type(last.output, StableDiffusionPipelineOutput | None)
    assert last.output is not None
    assert last.output.images.shape == output.images.shape


def test_loading_tells_what_was_missing(folder: Path) -> None:
    pipe, info = dpnb.StableDiffusionPipeline.from_pretrained(folder, output_loading_info=True)
    assert_type(pipe, dpnb.StableDiffusionPipeline)
    assert_type(info, dict[str, Keys])
    assert info["unet"] == {"missing": (), "unexpected": (), "mismatched": ()}


def test_the_base_loads_what_the_index_names(folder: Path) -> None:
    pipe = dpnb.DiffusionPipeline.from_pretrained(folder)
    assert_type(pipe, Any)
    assert type(pipe) is dpnb.StableDiffusionPipeline


def test_a_class_over_the_parts_of_another_is_itself(folder: Path) -> None:
    pipe = dpnb.StableDiffusionPipeline.from_pretrained(folder)
    inpaint = dpnb.StableDiffusionInpaintPipeline.from_pipe(pipe)
    assert_type(inpaint, dpnb.StableDiffusionInpaintPipeline)
    given: InpaintingArguments = inpaint.resolve_size(
        StableDiffusionInpaintArguments(
            "a cat",
            image=inpaint.picture_inputs[0].example(24, 16),
            mask_image=inpaint.picture_inputs[1].example(24, 16),
        )
    )
    assert given.size == pipe.default_size()


def first_output(pipe: TextToImagePipeline[Any, ImagePipelineOutput]) -> ImagePipelineOutput | None:
    """What a typed pipeline's stream ends with."""
    output = drain(pipe.stream("a cat", num_inference_steps=1, output_type="latent"))
    assert_type(output, ImagePipelineOutput | None)
    return output


def test_a_pipeline_is_typed_by_its_output() -> None:
    pipe: Any = dpnb.random_pipeline("tiny-ldm")
    pipe.set_progress_bar_config(disable=True)
    assert isinstance(first_output(pipe), ImagePipelineOutput)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_returned_is_what_the_types_say(shape: str) -> None:
    pipe: Any = dpnb.random_pipeline(shape)
    pipe.set_progress_bar_config(disable=True)
    output = pipe("a cat", num_inference_steps=1, output_type="latent")
    assert type(output) is OUTPUTS[type(pipe)]
    plain = pipe("a cat", num_inference_steps=1, output_type="latent", return_dict=False)
    assert type(plain) is tuple
    assert len(plain) == len(vars(output))


def test_every_call_is_named_and_described() -> None:
    for kind in OUTPUTS:
        for name in ("__call__", "stream"):
            method = getattr(kind, name)
            assert method.__name__ == name
            assert method.__doc__.startswith("Draw")
            assert next(iter(inspect.signature(method).parameters)) == "self"


class Echo:
    """Hands its arguments back."""

    __call__ = make_call(Arguments, tuple)

    def start(self, arguments: Arguments) -> Iterator[Step[tuple[Any, ...] | None]]:
        yield Step(Stage.TEXT, 0, 1)
        yield Step(Stage.DECODING, 0, 1, output=(arguments,))


def test_a_call_gathers_its_arguments() -> None:
    (given,) = Echo()("a cat", num_inference_steps=3)
    assert given == Arguments("a cat", num_inference_steps=3)
    echo: Any = Echo()
    with pytest.raises(TypeError, match="brush is not an argument of this pipeline"):
        echo("a cat", brush=1)
    with pytest.raises(TypeError, match="2 arguments are given by position; only prompt may be"):
        echo("a cat", 2)
    with pytest.raises(TypeError, match="prompt is given twice"):
        echo("a cat", prompt="a dog")
