"""Pipelines that the laws of strategies hold for: dpnb's own, and others that are attached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from random import Random
from typing import Any

import diffusers as diffusers  # asks for xformers at once, before a test has a stand-in for it
import pytest
import torch
from torch import Tensor, nn

import dpnb
from dpnb.nn.quantized import plain_tensors
from dpnb.nn.weight_changes import LowRank
from dpnb.strategies.attachment import attachment_of
from dpnb.strategies.attention import AttentionSlicing, XFormers
from dpnb.strategies.attention_kernel import AttentionKernel
from dpnb.strategies.catalog import CATALOG, COMPONENT_SWITCHES
from dpnb.strategies.compilation import Compile
from dpnb.strategies.component_switches import (
    ComponentFreeU,
    ComponentFusion,
    ComponentSlicing,
    ComponentTiling,
)
from dpnb.strategies.conditioning import ConditioningCache
from dpnb.strategies.device_map import DeviceMap
from dpnb.strategies.freeu import FreeU
from dpnb.strategies.guidance_interval import GuidanceInterval
from dpnb.strategies.lora import LoRA
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from dpnb.strategies.precision import Precision
from dpnb.strategies.projection import QKVFusion
from dpnb.strategies.quantization import Quantization
from dpnb.strategies.step_cache import StepCache
from dpnb.strategies.storage import ChannelsLast, LayerwiseCasting
from dpnb.strategies.strategy import Strategy
from dpnb.strategies.tiny_decoder import TinyDecoder
from dpnb.strategies.token_merging import TokenMerging
from dpnb.strategies.vae import VaeSlicing, VaeTiling
from tests.pipelines.attached.foreign import everything_of, freeze
from tests.reference.foreign.case import ForeignCase
from tests.strategies import pipes
from tests.strategies.pipes import LINK, SAMPLES_OF, TINY, adapter

Kinds = tuple[type[Strategy], ...]

IGNORED = [
    pytest.mark.filterwarnings(f"ignore:{warning}")
    for warning in (
        "__array__ implementation:DeprecationWarning",
        "`torch.nn.utils.weight_norm` is deprecated:FutureWarning",
    )
]
"""What diffusers is warned of."""


@dataclass(frozen=True)
class Subject:
    """A pipeline that laws hold for.

    Args:
        build: makes it anew; a pipeline that is not dpnb's, attached.
        draw: what it draws, always with the same seed.
        traces: what is what in all that it is made of.
        samples: strategies that serve it, with settings that it can tell from nothing.
    """

    build: Callable[[], Any]
    draw: Callable[[Any], Tensor]
    traces: Callable[[Any], dict[str, Any]]
    samples: tuple[Strategy, ...]


OWN = {
    name: Subject(partial(pipes.build, name), pipes.draw, pipes.traces, tuple(samples))
    for name, samples in SAMPLES_OF.items()
}

FUSED: Kinds = (QKVFusion, VaeTiling, VaeSlicing)
"""Served by dpnb's own autoencoder, where that stands for one of the same class."""
KNOWN: Kinds = (*FUSED, ConditioningCache)
"""Likewise where dpnb has the denoising network as well."""
CODER: Kinds = (ComponentTiling, ComponentSlicing)
UNET: Kinds = (FreeU, ComponentFreeU, TokenMerging)
HALF: Kinds = (TinyDecoder,)
"""Served where latents are like those of the tiny autoencoder that the tests have."""
BLOCKS: Kinds = (StepCache, Compile)
"""Served where a network that denoises is made of blocks."""
TWICE: Kinds = (GuidanceInterval,)
"""Served where the network sees every latent twice, without the prompt and with it."""
ALWAYS: Kinds = (
    ModelOffload,
    SequentialOffload,
    DeviceMap,
    AttentionKernel,
    XFormers,
    AttentionSlicing,
    Precision,
    LayerwiseCasting,
    Quantization,
    LoRA,
)

SETTINGS: dict[type[Strategy], Strategy] = {
    ModelOffload: ModelOffload(LINK),
    SequentialOffload: SequentialOffload(device=LINK),
    DeviceMap: DeviceMap((("text_encoder", "disk"),)),
    AttentionKernel: AttentionKernel("math"),
    AttentionSlicing: AttentionSlicing(1),
    GuidanceInterval: GuidanceInterval(0.9, 1),
    TinyDecoder: TINY,
    StepCache: StepCache(threshold=10.0, last=0),
    LayerwiseCasting: LayerwiseCasting("bfloat16"),
    VaeTiling: VaeTiling(16),
}
"""Where the default alone will not do."""

SERVED: dict[str, tuple[str, Kinds, int]] = {
    "StableDiffusionPipeline": (
        "stable_diffusion",
        (*KNOWN, *CODER, *UNET, *TWICE, *HALF, *BLOCKS, ComponentFusion, ChannelsLast),
        16,
    ),
    "StableDiffusionControlNetPipeline (two nets)": (
        "conditioned",
        (*KNOWN, *CODER, *UNET, *TWICE, *HALF, *BLOCKS, ComponentFusion, ChannelsLast),
        16,
    ),
    "FluxPipeline": ("flux", (*KNOWN, *CODER, *HALF, *BLOCKS, ComponentFusion, ChannelsLast), 16),
    "StableDiffusion3Pipeline": (
        "stable_diffusion_3",
        (*FUSED, *CODER, *TWICE, *HALF, ComponentFusion, ChannelsLast, StepCache),
        16,
    ),
    "ZImagePipeline": (
        "z_image",
        (*FUSED, *CODER, *BLOCKS, ComponentFusion, ChannelsLast),
        16,
    ),
    "Flux2KleinPipeline": ("flux2", (*CODER, *BLOCKS, ComponentFusion, ChannelsLast), 16),
    "WanPipeline (two transformers)": (
        "wan",
        (*CODER, *BLOCKS, ComponentFusion, ChannelsLast),
        32,
    ),
    "StableAudioPipeline": ("audio", (*CODER, StepCache), 0),
    "DDPMPipeline": ("unconditional", (ChannelsLast,), 0),
    "AnimateDiffPipeline": (
        "animate",
        (*FUSED, *CODER, *TWICE, *HALF, ComponentFusion, ComponentFreeU, ChannelsLast),
        16,
    ),
    "LTXPipeline": ("ltx", (*CODER, *TWICE, *BLOCKS, ChannelsLast), 0),
    "StableCascadeCombinedPipeline": ("cascades", (ChannelsLast,), 0),
}
"""Kind of pipeline → the module of its case, what serves it beside `ALWAYS`, and a tile that its
pictures are cut by; 0 where they are smaller than any."""

IN_FULL = ("FluxPipeline", "ZImagePipeline", "StableAudioPipeline")
"""Kinds that every law holds for with every strategy that serves; with others it takes one, and
every law another."""

ELSEWHERE = {"StableDiffusionPipeline": (*UNET, *TWICE)}
"""Kind → strategies that it takes as well, since they serve none of those."""


def sample_of(kind: type[Strategy], name: str) -> Strategy:
    """A strategy of a kind, with settings that this pipeline can tell from nothing."""
    tile = SERVED[name][2]
    if kind is DeviceMap and name == "DDPMPipeline":
        return DeviceMap("disk")
    if kind is ComponentTiling:
        return ComponentTiling(tile or None)
    return SETTINGS[kind] if kind in SETTINGS else kind()


def build_attached(case: ForeignCase) -> Any:
    """A foreign pipeline, attached, that has drawn once, with an adapter that is off."""
    pipe = case.build()
    case.draw(pipe)  # what is made in a first run alone is there now
    studio = dpnb.attach(pipe)
    weights = adapter(studio)
    changes: dict[str, dict[str, LowRank]] = {}
    for key, down in weights.items():
        layer, kind, _ = key.partition(".lora_A")
        if kind:
            component, _, path = layer.partition(".")
            change = LowRank(down, weights[f"{layer}.lora_B.weight"])
            changes.setdefault(component, {})[f"{path}.weight"] = change
    for component, found in changes.items():
        attachment_of(studio.parts()[component]).adapters["style"] = found
    return studio


def foreign_traces(studio: Any) -> dict[str, Any]:
    """Every attribute of all that an attached pipeline is made of, and how tensors are stored."""
    inner = {
        f"{name}.{key}": freeze(held)
        for name, value in vars(studio.pipe).items()
        if not isinstance(value, nn.Module) and "components" in dir(value)
        for key, held in vars(value).items()
    }
    return {**everything_of(studio.pipe), **inner, **_layouts(studio)}


def _layouts(studio: Any) -> dict[str, Any]:
    """By the name of every tensor, its kind, and the first one in whose storage it is."""
    first: dict[int, str] = {}
    found: dict[str, Any] = {}
    for component, network in pipes.networks(studio).items():
        for name, t in (*network.named_parameters(), *network.named_buffers()):
            key, storage = f"layout of {component}.{name}", plain_tensors(t)[0].untyped_storage()
            owner = first.setdefault(storage.data_ptr(), key) if storage.nbytes() else key
            kept = owner, storage.nbytes(), t.storage_offset(), t.stride()
            found[key] = id(t), t.dtype, t.device, tuple(t.shape), t.requires_grad, *kept
    return found


@cache
def case_of(name: str) -> ForeignCase:
    """The case of a foreign pipeline; its module is not imported before."""
    module: Any = import_module(f"tests.reference.foreign.{SERVED[name][0]}")
    cases: tuple[ForeignCase, ...] = module.CASES
    return next(case for case in cases if case.name == name)


def _foreign(name: str) -> Subject:
    served = (*ALWAYS, *SERVED[name][1])
    order = (*CATALOG, *COMPONENT_SWITCHES)
    samples = tuple(sample_of(kind, name) for kind in order if kind in served)
    return Subject(
        lambda: build_attached(case_of(name)),
        lambda studio: case_of(name).draw(studio.pipe),
        foreign_traces,
        samples,
    )


FOREIGN = {name: _foreign(name) for name in SERVED}
ATTACHED_SAMPLES = tuple(sample for subject in FOREIGN.values() for sample in subject.samples)
SUBJECTS = {**OWN, **FOREIGN}


def cases_for(law: str, in_full: tuple[str, ...] = IN_FULL) -> list[tuple[str, Strategy]]:
    """Foreign pipelines and strategies that a law is to hold for; some with all that serve."""
    random, cases = Random(law), []
    for name, subject in FOREIGN.items():
        chosen = random.sample(subject.samples, len(subject.samples) if name in in_full else 1)
        kinds = ELSEWHERE.get(name, ())
        chosen += [sample for sample in subject.samples if type(sample) in kinds]
        cases += [(name, sample) for sample in dict.fromkeys(chosen)]
    return cases


@cache
def pipe_of(name: str) -> Any:
    """The pipeline of this name, made once."""
    return SUBJECTS[name].build()


def draw_of(name: str) -> Tensor:
    """What it draws now."""
    with torch.no_grad():
        return SUBJECTS[name].draw(pipe_of(name))


@cache
def picture_of(name: str) -> Tensor:
    """What it draws with nothing on."""
    assert not pipe_of(name).strategies.active
    return draw_of(name)


def traces_of(name: str) -> dict[str, Any]:
    """What is what in it, but for what every run makes anew."""
    found = SUBJECTS[name].traces(pipe_of(name))
    return {key: value for key, value in found.items() if key not in _ever_new(name)}


@cache
def _ever_new(name: str) -> set[str]:
    """What changes from run to run, while nothing is on."""
    assert not pipe_of(name).strategies.active
    before = SUBJECTS[name].traces(pipe_of(name))
    draw_of(name)
    return differences(before, SUBJECTS[name].traces(pipe_of(name)))


def differences(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    """What is not the same in both."""
    return {key for key in {**one, **other} if one.get(key, nn) != other.get(key, nn)}
