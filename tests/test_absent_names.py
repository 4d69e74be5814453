"""Names that scripts import from elsewhere and that are not here."""

from __future__ import annotations

from importlib import import_module

import pytest

import dpnb
from dpnb.absent_names import KINDS, explain_absence

WAYS = {
    "WanPipeline": "dpnb.attach(diffusers.WanPipeline.from_pretrained(...))",
    "ControlNetModel": "dpnb.attach(pipe)",
    "ScoreSdeVeScheduler": "use one of dpnb.schedulers",
    "apply_faster_cache": "dpnb.StepCache keeps what a network has computed",
    "QuantoConfig": 'quantization_config="int8"',
    "ContextParallelConfig": "dpnb.DeviceMap",
    "SkipLayerGuidance": "guidance belongs to pipelines",
    "IPAdapterMaskProcessor": "dpnb.VaeImageProcessor",
    "Attention": "networks build their layers themselves",
    "AttnAddedKVProcessor": "network.attn_processors names them",
    "BasicTransformerBlock": "networks build their layers themselves",
    "Decoder": "networks build their layers themselves",
    "SlicedAttnProcessor": "network.set_attention_slice",
    "VectorQuantizer": "networks build their layers themselves",
    "apply_group_offloading": "pipe.enable_group_offload",
    "convert_state_dict_to_kohya": "save_lora_weights of a pipeline",
    "OnnxStableDiffusionPipeline": "load the PyTorch form",
    "StableDiffusionXLModularPipeline": "build the modular pipeline with diffusers",
}


@pytest.mark.parametrize("name", WAYS)
def test_the_way_in_place_of_a_name_is_told(name: str) -> None:
    with pytest.raises(ImportError) as by_import:
        exec(f"from dpnb import {name}")
    with pytest.raises(ImportError) as by_attribute:
        getattr(dpnb, name)
    assert WAYS[name] in str(by_import.value)
    assert str(by_import.value) == str(by_attribute.value) == explain_absence(name, dpnb.__all__)


def test_a_mistake_is_one() -> None:
    assert explain_absence("StableDiffusionn", dpnb.__all__) is None
    with pytest.raises(AttributeError, match="dpnb has no StableDiffusionn; it has"):
        import_module("dpnb").StableDiffusionn  # noqa: B018


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("StableDifusionPipeline", " Its nearest name is StableDiffusionPipeline."),
        ("FluxPriorReduxPipeline", "from_pretrained(...))."),
    ],
)
def test_a_name_that_may_be_meant_is_told(name: str, end: str) -> None:
    with pytest.raises(ImportError) as caught:
        getattr(dpnb, name)
    assert str(caught.value).endswith(end)


def test_no_name_of_ours_is_absent() -> None:
    assert all(getattr(dpnb, name) is not None for name in dpnb.__all__)
    assert all(reason.rstrip() == reason and not reason.endswith(".") for _, reason in KINDS)
