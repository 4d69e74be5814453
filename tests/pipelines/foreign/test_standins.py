"""What community pipelines import besides our classes."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import dpnb
from dpnb.pipelines.foreign import standins
from dpnb.pipelines.foreign.community import HOMES
from dpnb.pipelines.foreign.image_processor import VaeImageProcessor
from tests.strategies.pipes import adapter


@pytest.mark.parametrize("name", HOMES)
def test_every_name_of_the_table_is_there(name: str) -> None:
    module, _, own = HOMES[name].partition(":")
    assert getattr(importlib.import_module(module), own or name) is not None


def test_an_output_is_reached_by_name_key_and_position() -> None:
    @dataclass
    class Output(standins.BaseOutput):
        images: Any
        flags: Any = None

    output = Output(images=[1, 2])
    assert output.images == output["images"] == output[0] == [1, 2]
    assert output.to_tuple() == tuple(output) == ([1, 2],)
    assert len(Output(1, 2)) == 2
    with pytest.raises(IndexError):
        _ = output[1]


def test_adapters_are_refused_in_a_sentence() -> None:
    class Own(standins.TextualInversions, standins.ImagePrompts):
        pass

    own = Own()
    assert own.maybe_convert_prompt("a cat", None) == "a cat"
    for refuse in (own.load_textual_inversion, own.load_ip_adapter):
        with pytest.raises(NotImplementedError, match="dpnb loads no textual inversion or image"):
            refuse("a repository")
    with pytest.raises(NotImplementedError, match=r"part of the network.* dpnb\.LoRA"):
        standins.refuse_scale(None, 0.5)


def test_low_rank_weights_are_loaded_whichever_base_comes_first() -> None:
    class Own(standins.Loras, dpnb.StableDiffusionPipeline):
        pass

    own: Any = Own.from_pipe(dpnb.random_pipeline("tiny-sd"))
    own.load_lora_weights(adapter(own), "style")
    assert own.get_active_adapters() == ["style"]


def test_former_names_are_taken_out_of_what_was_given() -> None:
    given = {"old": 1, "older": 2, "new": 3}
    assert standins.deprecate("old", "1.0.0", "use new", take_from=given) == 1
    assert standins.deprecate("nothing", "1.0.0", "say no more") is None
    pair = (("older", "1.0.0", "x"), ("absent", "1.0.0", "x"))
    assert standins.deprecate(*pair, take_from=given) == 2
    assert given == {"new": 3}


def test_releases_of_torch_are_compared() -> None:
    assert standins.is_torch_version(">=", "2.0.0")
    assert not standins.is_torch_version("<", "2.0.0")


def test_timesteps_are_laid_out_by_number_or_by_list() -> None:
    scheduler = dpnb.DDPMScheduler()
    timesteps, count = standins.retrieve_timesteps(scheduler, 4, "cpu")
    assert len(timesteps) == count == 4
    timesteps, count = standins.retrieve_timesteps(scheduler, timesteps=[900, 500, 100])
    assert timesteps.tolist() == [900, 500, 100]
    assert count == 3
    flow = dpnb.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    timesteps, count = standins.retrieve_timesteps(flow, 9, "cpu", sigmas=[1.0, 0.5], mu=0.0)
    assert timesteps.tolist() == [1000, 500]
    assert count == 2


def test_settings_may_be_replaced_as_older_pipelines_do_it() -> None:
    scheduler: Any = dpnb.DDIMScheduler(clip_sample=True)
    settings = dict(scheduler.config)
    settings["clip_sample"] = False
    scheduler._internal_dict = standins.FrozenDict(settings)
    assert scheduler.config.clip_sample is False
    assert scheduler._internal_dict["clip_sample"] is False
    assert scheduler.config.given == {"clip_sample"}


def test_a_network_answers_to_its_settings() -> None:
    unet: Any = dpnb.random_pipeline("tiny-sd").components["unet"]
    assert unet.sample_size == unet.config.sample_size == 16
    with pytest.raises(AttributeError, match="nothing"):
        _ = unet.nothing
    given = torch.zeros(1, 4, 8, 8), 1, torch.zeros(1, 2, 32)
    with pytest.raises(ValueError, match=r"asks for gligen: .* part of the network.* dpnb\.LoRA"):
        unet(*given, cross_attention_kwargs={"gligen": 1})


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    levels = np.arange(width * height * 3, dtype=np.uint8).reshape(height, width, 3)
    return Image.fromarray(levels).convert(mode)


def test_pictures_go_in_and_come_out() -> None:
    processor = VaeImageProcessor(vae_scale_factor=8)
    batch = processor.preprocess([picture(24, 17), picture(24, 20)])
    assert batch.shape == (2, 3, 16, 24)
    assert batch.min() >= -1
    assert batch.min() < 0
    plain = VaeImageProcessor(do_resize=False)
    (again,) = plain.postprocess(plain.preprocess(picture(24, 16)))
    assert np.array_equal(np.asarray(again), np.asarray(picture(24, 16)))
    assert torch.equal(processor.postprocess(batch, "latent"), batch)
    assert processor.postprocess(batch, "np").shape == (2, 16, 24, 3)
    assert processor.preprocess(picture(8, 8, "RGBA")).shape == (1, 3, 8, 8)
    with pytest.raises(ValueError, match="output_type is 'jpeg'"):
        processor.postprocess(batch, "jpeg")
