from __future__ import annotations

from dpnb.pipelines.settings.foreign_records import read_record
from dpnb.pipelines.settings.picture_settings import PictureSettings

INVOKE = {
    "app_version": "5.4.0",
    "generation_mode": "txt2img",
    "positive_prompt": "landscape",
    "negative_prompt": "low quality",
    "width": 768,
    "height": 432,
    "seed": 356120443,
    "cfg_scale": 7.5,
    "steps": 50,
    "scheduler": "dpmpp_2m_sde_k",
    "model": {"key": "1", "hash": "blake3:1", "name": "amixx", "base": "sd-1"},
}
SWARM = {
    "sui_image_params": {
        "prompt": "a woman",
        "model": "Flux/flux1-dev-fp8",
        "seed": 305223794,
        "steps": 25,
        "cfgscale": 1.0,
        "width": 1024,
        "height": 512,
        "sampler": "euler",
        "scheduler": "simple",
        "negativeprompt": "",
    }
}


def test_invokeai_is_read() -> None:
    one = read_record(INVOKE)
    assert one is not None
    assert (one.prompt, one.negative_prompt, one.steps) == ("landscape", "low quality", 50)
    assert (one.guidance_scale, one.seed) == (7.5, 356120443)
    assert (one.width, one.height, one.model) == (768, 432, "amixx")
    assert one.scheduler == "DPMSolverMultistepScheduler"
    assert one.scheduler_settings["algorithm_type"] == "sde-dpmsolver++"
    assert one.scheduler_settings["use_karras_sigmas"] is True


def test_swarmui_is_read() -> None:
    one = read_record(SWARM)
    assert one is not None
    assert (one.prompt, one.guidance_scale, one.seed) == ("a woman", 1.0, 305223794)
    assert (one.scheduler, one.model) == ("EulerDiscreteScheduler", "Flux/flux1-dev-fp8")


def test_a_file_of_prompts_is_read() -> None:
    values = {"model": "m", "prompt": "sun", "negative_prompt": None, "seed": 3, "guidance": 5.0}
    assert read_record(values) == PictureSettings("sun", seed=3, guidance_scale=5.0, model="m")


def test_other_objects_are_no_records() -> None:
    assert read_record({}) is None
    assert read_record({"nodes": []}) is None
    assert read_record({"sui_image_params": 3}) is None


def test_values_of_other_kinds_are_left_out() -> None:
    odd = {"prompt": "a", "steps": [1], "seed": "x", "width": True, "cfg_scale": "nan", "model": 3}
    assert read_record(odd) == PictureSettings("a")
