"""Small pipelines, their pictures, and everything that a switch might leave behind in them."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

import dpnb
from dpnb.strategies.attention import AttentionSlicing
from dpnb.strategies.attention_kernel import AttentionKernel
from dpnb.strategies.catalog import CATALOG
from dpnb.strategies.device_map import DeviceMap
from dpnb.strategies.freeu import FreeU
from dpnb.strategies.guidance_interval import GuidanceInterval
from dpnb.strategies.lora import LoRA
from dpnb.strategies.perturbed_attention import PerturbedAttention
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from dpnb.strategies.precision import Precision
from dpnb.strategies.projection import QKVFusion
from dpnb.strategies.quantization import Quantization
from dpnb.strategies.step_cache import StepCache
from dpnb.strategies.storage import LayerwiseCasting
from dpnb.strategies.strategy import Strategy
from dpnb.strategies.tiny_decoder import TinyDecoder
from dpnb.strategies.token_merging import TokenMerging
from dpnb.strategies.vae import VaeTiling

LINK = "simulated:64GiB/s"

TINY = TinyDecoder(str(Path(__file__).parent / "tiny_vae"))
"""A tiny autoencoder with random weights, for latents of 4 channels at half the size."""

CAST_TO_16 = LayerwiseCasting("float16")

SETTINGS: dict[type[Strategy], list[Strategy]] = {
    AttentionKernel: [AttentionKernel(), AttentionKernel("math", ("vae",))],
    AttentionSlicing: [AttentionSlicing(), AttentionSlicing(1)],
    DeviceMap: [DeviceMap("disk"), DeviceMap((("unet.mid_block.resnets.0", "disk"),))],
    FreeU: [FreeU(), FreeU(0, 0.5, 1.2, 0)],
    GuidanceInterval: [GuidanceInterval(0.5, 1)],
    LoRA: [LoRA(), LoRA(0.5, ("style",), (2.0,))],
    LayerwiseCasting: [LayerwiseCasting(), CAST_TO_16],
    ModelOffload: [ModelOffload(LINK)],
    Precision: [Precision(), Precision("float16")],
    QKVFusion: [QKVFusion(), QKVFusion(vae=False)],
    TinyDecoder: [TINY],
    TokenMerging: [TokenMerging(), TokenMerging(0.75, 2)],
    Quantization: [Quantization(), Quantization("fp8")],
    VaeTiling: [VaeTiling(), VaeTiling(1, spill=True), VaeTiling(blended=True)],
    StepCache: [StepCache(threshold=10.0, last=0)],
    SequentialOffload: [SequentialOffload(device=LINK), SequentialOffload("3MiB", LINK)],
}
"""Where the default alone will not do."""

ADAPTED = ("to_q", "to_v", "0", "q_proj", "v_proj")
"""The layers that the adapter of these tests changes; 0 is the last one of attention."""

SAMPLES: list[Strategy] = [s for kind in CATALOG for s in SETTINGS.get(kind, [kind()])]
"""Every strategy of the catalog, with several settings where it has any."""

FLUX_SAMPLES: list[Strategy] = [
    sample
    for sample in SAMPLES
    if not isinstance(
        sample, FreeU | TokenMerging | PerturbedAttention | GuidanceInterval | DeviceMap
    )
] + [DeviceMap("disk"), DeviceMap((("transformer.transformer_blocks.0", "disk"),))]
"""The same for a pipeline without a UNet; some strategies cannot serve there, and one serves a
negative prompt, which these tests give to none."""

ONE_EACH: list[Strategy] = list({type(sample): sample for sample in SAMPLES}.values())
"""Every strategy with one setting."""

SAMPLES_OF = {
    "tiny-sd": SAMPLES,
    "tiny-sdxl": ONE_EACH,
    "tiny-flux": list({type(sample): sample for sample in FLUX_SAMPLES}.values()),
}
"""One pipeline takes all; others are made of the same networks, or nearly."""


def samples_for(name: str) -> list[Strategy]:
    """The samples that serve at a pipeline of `build`; one guidance serves beside no other."""
    if name == "sag":
        return [sample for sample in SAMPLES if not isinstance(sample, PerturbedAttention)]
    if name == "tiny-ldm":  # its autoencoder has another name
        return [sample for sample in SAMPLES if sample != AttentionKernel("math", ("vae",))]
    return SAMPLES_OF.get(name, SAMPLES)


def is_consistent(plan: Iterable[Strategy]) -> bool:
    """Whether strategies can be on together, each of which can be on and decides another thing.

    No part of a quantized network can wait elsewhere by itself, unless its matrices are cast; and
    where networks compute in 16 bits, it depends on much else whether anything is smaller in 16.
    """
    on = set(plan)
    casts = [one for one in on if isinstance(one, LayerwiseCasting)]
    elsewhere = [one for one in on if isinstance(one, DeviceMap) and one != DeviceMap("cpu")]
    if any(isinstance(one, Quantization) for one in on) and elsewhere:
        return bool(casts) and DeviceMap("disk") not in elsewhere
    return CAST_TO_16 not in casts or not any(isinstance(one, Precision) for one in on)


OVER: dict[str, tuple[str, str]] = {
    "img2img": ("tiny-sd", "StableDiffusionImg2ImgPipeline"),
    "inpaint": ("tiny-sdxl", "StableDiffusionXLInpaintPipeline"),
    "sag": ("tiny-sd", "StableDiffusionSAGPipeline"),
}
"""Pipelines over the components of another one."""


def build(name: str = "tiny-sd", dtype: str = "float32") -> Any:
    """A random pipeline that keeps its progress to itself, with an adapter that is off."""
    base, kind = OVER.get(name, (name, ""))
    pipe: Any = dpnb.random_pipeline(base, dtype=dtype)
    if kind:
        pipe = getattr(dpnb, kind).from_pipe(pipe)
    pipe.set_progress_bar_config(disable=True)
    pipe.load_lora_weights(adapter(pipe), "style")
    pipe.disable_lora()
    return pipe


def adapter(pipe: Any, rank: int = 2, seed: int = 0) -> dict[str, Tensor]:
    """Random low-rank weights for every attention layer of the networks, as peft names them."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, Tensor] = {}
    for component, network in networks(pipe).items():
        for name, module in network.named_modules():
            if isinstance(module, nn.Linear) and name.rpartition(".")[2] in ADAPTED:
                rows, columns = module.weight.shape
                prefix = f"{component}.{name}"
                tensors[f"{prefix}.lora_A.weight"] = torch.randn(rank, columns, generator=generator)
                tensors[f"{prefix}.lora_B.weight"] = torch.randn(rows, rank, generator=generator)
    return {name: tensor * 0.1 for name, tensor in tensors.items()}


def draw(pipe: Any, steps: int = 2, **arguments: Any) -> Tensor:
    """The pictures of a seed, `[batch, height, width, 3]`."""
    pictures = {one.argument: one.example(32, 32) for one in pipe.picture_inputs}
    settings = {"num_inference_steps": steps, "output_type": "np", **pictures} | arguments
    generator = torch.Generator().manual_seed(0)
    return torch.from_numpy(pipe("a red fox", generator=generator, **settings).images.copy())


def networks(pipe: Any) -> dict[str, nn.Module]:
    """The components that have weights, by name."""
    return {name: part for name, part in pipe.parts().items() if isinstance(part, nn.Module)}


def values(pipe: Any) -> dict[str, Tensor]:
    """A copy of every weight, by component and key, in the order of the keys."""
    return {
        f"{name}.{key}": value.clone()
        for name, network in networks(pipe).items()
        for key, value in network.state_dict().items()
    }


def traces(pipe: Any) -> dict[str, Any]:
    """What is what in every module: objects by identity, hooks, and the layout of every weight."""
    return {
        f"{name}.{path}": (_attributes(module), _tensors(module))
        for name, network in networks(pipe).items()
        for path, module in network.named_modules()
    }


def _attributes(module: nn.Module) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in vars(module).items():
        if isinstance(value, dict):
            found.append((key, (*value, *map(id, value.values()))))
        else:
            found.append((key, id(value)))
    return found


def _tensors(module: nn.Module) -> list[Any]:
    return [
        (key, id(t), t.dtype, t.device, tuple(t.shape), t.stride(), t.requires_grad)
        for key, t in (*module._parameters.items(), *module._buffers.items())
        if t is not None
    ]


def live_bytes() -> int:
    """Of all tensors that anything still refers to."""
    gc.collect()
    storages = {
        storage.data_ptr(): storage.nbytes()
        for item in gc.get_objects()
        if issubclass(type(item), Tensor) and not issubclass(type(item), FakeTensor)
        if item.device.type == "cpu"
        if not is_traceable_wrapper_subclass(item)
        for storage in [item.untyped_storage()]
    }
    return sum(storages.values())
