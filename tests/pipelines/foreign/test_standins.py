"""What community pipelines import besides our classes."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils._pytree import tree_map

import dpnb
from dpnb.pipelines.foreign import standins
from dpnb.pipelines.foreign.community import HOMES
from dpnb.pipelines.foreign.image_processor import VaeImageProcessor
from dpnb.utils import BaseOutput
from tests.strategies.pipes import adapter


@pytest.mark.parametrize("name", HOMES)
def test_every_name_of_the_table_is_there(name: str) -> None:
    module, _, own = HOMES[name].partition(":")
    assert getattr(importlib.import_module(module), own or name) is not None


def test_an_output_is_reached_by_name_key_and_position() -> None:
    @dataclass
    class Output(BaseOutput):
        images: Any
        flags: Any = None

    output = Output(images=[1, 2])
    assert output.images == output["images"] == output[0] == [1, 2]
    assert output.to_tuple() == ([1, 2],)
    assert len(Output(1, 2)) == 2
    assert list(output) == [*output.keys()] == ["images"]
    assert "images" in output
    assert "flags" not in output
    assert {**output} == dict(output) == {"images": [1, 2]}
    given: Any = {"images": [3]}
    assert Output(given).images == [3]
    doubled: Any = tree_map(lambda leaf: 2 * leaf, output)
    assert (type(doubled), doubled.images) == (Output, [2, 4])
    with pytest.raises(IndexError):
        _ = output[1]


def test_a_logger_of_a_file_elsewhere_is_this_packages() -> None:
    assert standins.get_logger("diffusers.pipelines.pipeline_utils").name == "dpnb"
    assert standins.get_logger("diffusers").name == "dpnb"
    assert standins.get_logger("dpnb.pipelines.auto").name == "dpnb.pipelines.auto"
    assert standins.get_logger("my.diffusers").name == "my.diffusers"


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
    given = {"old": 1, "older": 2}
    triples = [(name, "1.0.0", f"not {name}") for name in ("old", "absent", "older")]
    with pytest.warns(FutureWarning) as warned:
        assert standins.deprecate(*triples, take_from=given) == (1, 2)
    assert given == {}
    assert [str(one.message) for one in warned] == [
        "The `old` argument is deprecated and will be removed in version 1.0.0. not old",
        "The `older` argument is deprecated and will be removed in version 1.0.0. not older",
    ]
    with pytest.warns(FutureWarning, match="^say no more$"):
        standins.deprecate("nothing", "1.0.0", "say no more", standard_warn=False)


def test_former_names_of_attributes_are_read() -> None:
    holder = SimpleNamespace(old=5)
    with pytest.warns(FutureWarning, match="The `old` attribute is deprecated"):
        assert standins.deprecate("old", "99.0.0", "x", take_from=holder) == 5
    assert standins.deprecate("other", "99.0.0", "x", take_from=holder) is None


def test_names_that_nobody_knows_and_releases_that_are_out_are_refused() -> None:
    with pytest.raises(TypeError, match="There is no argument new; leave it out"):
        standins.deprecate("old", "1.0.0", "use new", take_from={"new": 3})
    with pytest.raises(ValueError, match=r"old was to go with release 0\.1\.0, and scripts are"):
        standins.deprecate("old", "0.1.0", "use new", take_from={"old": 3})


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
    assert scheduler.config.given_settings == {"clip_sample"}


def test_a_network_answers_to_its_settings() -> None:
    unet: Any = dpnb.random_pipeline("tiny-sd").components["unet"]
    with pytest.warns(FutureWarning, match=r"config\.sample_size"):
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
