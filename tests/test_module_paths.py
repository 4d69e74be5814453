"""Files that scripts know by paths from elsewhere."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec

import pytest
import torch

import dpnb
from dpnb import utils
from dpnb.models.unet_2d import UNet2DOutput
from dpnb.module_paths import PathFinder, offer_paths

SAME = {
    "dpnb.models.autoencoders.autoencoder_kl": "AutoencoderKL",
    "dpnb.models.modeling_utils": "ModelMixin",
    "dpnb.models.transformers.transformer_flux": "FluxTransformer2DModel",
    "dpnb.models.unets": "UNet2DModel",
    "dpnb.models.unets.unet_2d_condition": "UNet2DConditionModel",
    "dpnb.pipelines.auto_pipeline": "AutoPipelineForText2Image",
    "dpnb.pipelines.ddim": "DDIMPipeline",
    "dpnb.pipelines.flux.pipeline_flux": "FluxPipeline",
    "dpnb.pipelines.pag.pipeline_pag_sd": "StableDiffusionPAGPipeline",
    "dpnb.pipelines.pipeline_utils": "DiffusionPipeline",
    "dpnb.pipelines.stable_diffusion.pipeline_stable_diffusion": "StableDiffusionPipeline",
    "dpnb.schedulers.scheduling_utils": "SchedulerMixin",
    "dpnb.schedulers.scheduling_ddim": "DDIMScheduler",
}


@pytest.mark.parametrize(("path", "name"), SAME.items())
def test_a_name_is_the_same_by_another_path(path: str, name: str) -> None:
    assert getattr(import_module(path), name) is getattr(dpnb, name)


def test_a_package_has_what_scripts_import_from_it() -> None:
    for kind in import_module("dpnb.schedulers").KarrasDiffusionSchedulers:
        assert getattr(dpnb.schedulers, kind.name) is getattr(dpnb, kind.name)
    assert utils.USE_PEFT_BACKEND is False
    embeddings = import_module("dpnb.models.embeddings")
    assert embeddings.get_timestep_embedding(torch.zeros(1), 4).tolist() == [[0, 0, 1, 1]]
    assert import_module("dpnb.models.unets.unet_2d").UNet2DOutput is UNet2DOutput
    assert import_module("dpnb.models").ModelMixin is dpnb.ModelMixin
    assert import_module("dpnb.pipelines").DiffusionPipeline is dpnb.DiffusionPipeline


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("dpnb.models.attention", "GEGLU"),
        ("dpnb.models.resnet", "ResnetBlock2D"),
        ("dpnb.models.autoencoders.vae", "Encoder"),
        ("dpnb.hooks", "apply_group_offloading"),
        ("dpnb.hooks.hooks", "ModelHook"),
        ("dpnb.utils.state_dict_utils", "convert_state_dict_to_kohya"),
        ("dpnb.utils", "load_video"),
        ("dpnb.training_utils", "_set_state_dict_into_text_encoder"),
        ("dpnb.models.embeddings", "FluxPosEmbed"),
        ("dpnb.models.embeddings", "get_2d_sincos_pos_embed"),
        ("dpnb.models.lora", "LoRACompatibleLinear"),
        ("dpnb.loaders", "AttnProcsLayers"),
        ("dpnb.pipelines.stable_diffusion_xl.watermark", "StableDiffusionXLWatermarker"),
        ("dpnb.quantizers", "DiffusersAutoQuantizer"),
        ("dpnb.video_processor", "VideoProcessor"),
    ],
)
def test_what_is_absent_at_a_path_is_told(path: str, name: str) -> None:
    with pytest.raises(ImportError, match=f"dpnb has no {name}: "):
        getattr(import_module(path), name)


@pytest.mark.parametrize(
    "path",
    [
        "dpnb.loaders.StableDiffusionLoraLoaderMixin",
        "dpnb.pipelines.fluxx",
        "dpnb.pipelines.flux.arguments",
        "dpnb.schedulers.ddimm",
        "dpnb.schedulerss.scheduling_ddim",
    ],
)
def test_other_paths_are_not_found(path: str) -> None:
    with pytest.raises(ModuleNotFoundError, match="No module named"):
        import_module(path)


def test_names_that_are_nowhere_are_refused() -> None:
    loaders = import_module("dpnb.loaders")
    with pytest.raises(AttributeError, match=r"module 'dpnb\.loaders' has no attribute 'Foo'"):
        _ = loaders.Foo
    with pytest.raises(ImportError, match="runs PyTorch weights alone"):
        _ = loaders.OnnxRuntimeModel
    assert not hasattr(loaders, "__file__")


def test_python_asks_here_once() -> None:
    offer_paths()
    assert sys.meta_path.count(PathFinder) == 1
    assert find_spec("dpnb.schedulers.scheduling_heun_discrete") is not None


def test_finding_a_path_loads_nothing() -> None:
    code = "import sys, dpnb.schedulers.scheduling_ddim; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
