"""Of a card's examples that one counts which is of the pipeline's class."""

from __future__ import annotations

from typing import Any

import diffusers
import pytest

from dpnb.pipelines.call_arguments import CallSignature
from dpnb.pipelines.card_numbers import choose_numbers, read_card_numbers
from tests.cards import (
    BROKEN,
    FLUX_SCHNELL,
    LORA,
    NOTEBOOK,
    QWEN_IMAGE,
    SD35_TURBO,
    SDXL_TURBO,
    WAN,
    Z_IMAGE_TURBO,
    card,
)


class Known:
    """A pipeline of which class and call are looked at."""

    size_unit = 16

    def __init__(self, class_name: str, call: Any = None, name: str | None = None) -> None:
        kind: Any = call or getattr(diffusers, class_name).__call__
        self.class_name, self.call_signature = class_name, CallSignature.of(kind)
        self.name_or_path = name


def numbers(text: str, class_name: str, name: str = "", call: Any = None) -> dict[str, float]:
    pipe: Any = Known(class_name, call)
    return choose_numbers(text, pipe, name)


@pytest.mark.parametrize(
    ("text", "class_name", "expected"),
    [
        (
            Z_IMAGE_TURBO,
            "ZImagePipeline",
            {"height": 1024, "width": 1024, "num_inference_steps": 9, "guidance_scale": 0.0},
        ),
        (
            FLUX_SCHNELL,
            "FluxPipeline",
            {"num_inference_steps": 4, "guidance_scale": 0.0, "max_sequence_length": 256},
        ),
        (
            SDXL_TURBO,
            "StableDiffusionXLPipeline",
            {"num_inference_steps": 1, "guidance_scale": 0.0},
        ),
        (
            SDXL_TURBO,
            "StableDiffusionXLImg2ImgPipeline",
            {"strength": 0.5, "num_inference_steps": 2, "guidance_scale": 0.0},
        ),
        (SDXL_TURBO, "StableDiffusionXLInpaintPipeline", {}),
        (
            SD35_TURBO,
            "StableDiffusion3Pipeline",
            {"num_inference_steps": 4, "guidance_scale": 0.0},
        ),
        (
            QWEN_IMAGE,
            "QwenImagePipeline",
            {"true_cfg_scale": 4.0, "height": 928, "width": 1664, "num_inference_steps": 50},
        ),
        (
            WAN,
            "WanPipeline",
            {
                "height": 480,
                "width": 832,
                "num_frames": 81,
                "num_inference_steps": 40,
                "guidance_scale": 4.0,
                "guidance_scale_2": 3.0,
            },
        ),
        (WAN, "WanImageToVideoPipeline", {}),
        (LORA, "ZImagePipeline", {}),
        (BROKEN, "ZImagePipeline", {"num_inference_steps": 6}),
        (NOTEBOOK, "ZImagePipeline", {"num_inference_steps": 12, "guidance_scale": -1.5}),
        ("", "ZImagePipeline", {}),
    ],
)
def test_what_cards_say(text: str, class_name: str, expected: dict[str, float]) -> None:
    assert numbers(text, class_name) == expected


def example(class_name: str, repository: str, call: str) -> str:
    return f'p = {class_name}.from_pretrained("{repository}")\np("x", {call})'


def test_the_checkpoint_s_own_example_goes_before_others() -> None:
    text = card(
        "Fox",
        example("ZImagePipeline", "someone/older", "num_inference_steps=1"),
        example("DiffusionPipeline", "someone/fox", "num_inference_steps=2"),
        example("ZImagePipeline", "someone/fox", "num_inference_steps=3"),
        example("ZImagePipeline", "someone/fox", "num_inference_steps=4"),
    )
    for name, steps in (("someone/fox", 3), ("/models/fox", 3), ("someone/copy", 1)):
        assert numbers(text, "ZImagePipeline", name) == {"num_inference_steps": steps}


def test_an_example_with_pictures_is_none_of_a_pipeline_without() -> None:
    text = card("Fox", "pipe('x', image=fox, num_inference_steps=2)", "pipe(num_inference_steps=3)")
    assert numbers(text, "ZImagePipeline") == {"num_inference_steps": 3}
    assert numbers(text, "ZImageImg2ImgPipeline") == {"num_inference_steps": 2}


@pytest.mark.parametrize(
    "call",
    [
        "num_inference_steps=0",
        "num_inference_steps=-3",
        "num_inference_steps=10**9",
        "num_inference_steps=100000",
        "num_inference_steps=2.5",
        "num_inference_steps=True",
        "height=1000",
        "height=99999984",
        "guidance_scale=True",
        "num_images_per_prompt=4",
        "unheard_of=1",
        "seed=1",
        "output_type=1",
        "return_dict=False",
    ],
)
def test_what_is_impossible_or_the_example_s_alone_is_not_taken(call: str) -> None:
    assert numbers(card("Fox", f"pipe({call})"), "ZImagePipeline") == {}


def test_a_flag_is_a_number() -> None:
    def call(prompt: str, clean_caption: bool = True, num_inference_steps: int = 20) -> None:
        """A call with a flag."""

    text = card("Fox", "pipe('x', clean_caption=False)")
    assert numbers(text, "FoxPipeline", call=call) == {"clean_caption": False}


def test_a_pipeline_of_which_nobody_knows_where_it_is_from_has_no_card() -> None:
    for name in (None, "no such folder", "someone/never-seen"):
        pipe: Any = Known("ZImagePipeline", name=name)
        assert read_card_numbers(pipe) == {}
