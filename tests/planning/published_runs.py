"""What others have measured on cards, simulated: diffusers' own code with networks of true shape.

Nothing but settings is needed: every network is valueless, and text is spelled out by tokenizers
without files. What is attached is diffusers' pipeline; ours is beside it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import diffusers
import torch
from torch import Tensor, nn

from dpnb.metering.tensors import TensorMeter
from dpnb.pipelines.shapes.architectures import ARCHITECTURES, assemble
from dpnb.planning.allocator_settings import AllocatorSettings
from dpnb.planning.card_memory import CardMemory
from dpnb.planning.card_replay import CardReplay, replay_resident
from dpnb.planning.device_profile import DeviceProfile
from dpnb.planning.simulation import Simulation
from dpnb.planning.step_prediction import predict_resident
from dpnb.planning.valueless import ValuelessTensors
from dpnb.planning.valueless_pipeline import build_valueless_pipeline
from dpnb.planning.weight_sizes import WeightSizes
from dpnb.planning.workload import Workload
from dpnb.stages import Stage

Change = Callable[[Any], object]

CHECKER = 1_216_000_000 // 2
"""Bytes of the safety checker of SD 1.x in 16 bits: a CLIP-L of pictures, 304 million weights."""


def as_diffusers(architecture: str, mode: ValuelessTensors, dtype: torch.dtype) -> Any:
    """Diffusers' pipeline of a public shape, valueless, with text encoders of true shape.

    Args:
        architecture: one of `ARCHITECTURES`.
        mode: in which it will run.
        dtype: of all weights.
    """
    shape = ARCHITECTURES[architecture]
    own = assemble(architecture, lambda network: mode.discard_values(network, dtype))
    parts = dict(own.components)
    scheduler = getattr(diffusers, shape.scheduler[0])
    parts["scheduler"] = scheduler(**shape.scheduler[1])
    for name, (kind, settings) in shape.networks().items():
        with torch.device("meta"):
            network = getattr(diffusers, kind)(**settings)
        parts[name] = mode.discard_values(network, dtype)
    if shape.pipeline == "StableDiffusionPipeline":
        parts.update(safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    for name in ("image_encoder", "feature_extractor"):
        if shape.pipeline != "StableDiffusionPipeline":
            parts.setdefault(name, None)
    return getattr(diffusers, shape.pipeline)(**parts)


@dataclass(frozen=True)
class Prediction:
    """Bytes of a run.

    Attributes:
        tensors: the most that are alive, exactly as they count.
        memory: what a card makes of that.
        weights: of these.
        step: seconds of a denoising step.
        others: seconds of all else.
    """

    tensors: int
    memory: CardMemory
    weights: int
    step: float = 0.0
    others: float = 0.0


def predict_pipeline(
    architecture: str,
    card: str,
    dtype: torch.dtype,
    workload: Workload,
    *,
    is_ours: bool = False,
    change: Change | None = None,
    more: int = 0,
    arguments: Mapping[str, Any] | None = None,
) -> Prediction:
    """A whole run with all weights on a card.

    Args:
        architecture: one of `ARCHITECTURES`.
        card: one of `GPU_SPECS`.
        dtype: of the weights.
        workload: what is drawn.
        is_ours: whether dpnb's own pipeline runs, instead of diffusers'.
        change: is done to the pipeline first.
        more: bytes of weights that are there beside.
        arguments: further ones of the call.
    """
    mode, profile = ValuelessTensors(), DeviceProfile.from_name(card)
    model: Any = architecture if is_ours else as_diffusers(architecture, mode, dtype)
    if change is not None:
        change(model)
    pipe = build_valueless_pipeline(model, mode, dtype)
    simulation = Simulation(pipe, mode, workload, profile, arguments)
    simulation.use(())
    weights = WeightSizes.of(pipe.strategies.networks)
    weights.tensors = {**weights.tensors, -1: more}
    steps = simulation.run()
    memory = replay_resident(steps, weights, profile)
    assert memory is not None
    found = predict_resident(steps, weights, profile)
    seconds = [(step.stage, one.seconds) for step, one in zip(steps, found, strict=True)]
    *_, each = (one for stage, one in seconds if stage is Stage.DENOISING)
    return Prediction(
        max(one.peak for one in found) + more,
        memory,
        weights.resident + more,
        each,
        sum(one for stage, one in seconds if stage is not Stage.DENOISING),
    )


def predict_call(
    network: nn.Module,
    mode: ValuelessTensors,
    card: str,
    call: Callable[[], object],
    *,
    is_growth: bool,
) -> Prediction:
    """A network alone, called twice; the second call counts.

    Args:
        network: valueless, with all weights on the card.
        mode: in which it is called.
        card: one of `GPU_SPECS`.
        call: calls it.
        is_growth: whether what was there before the call is left out, weights and all.
    """
    profile = DeviceProfile.from_name(card)
    libraries = profile.libraries
    assert libraries is not None
    mode.card, meter = libraries, TensorMeter()
    replay = CardReplay(libraries, AllocatorSettings())
    sizes = [p.nbytes for p in network.parameters()]
    replay.load({-n: size for n, size in enumerate(sizes, 1)})
    before = (0, 0)
    for _ in range(2):
        replay.allocator.empty_cache()
        replay.allocator.reset_peaks()
        before = (replay.allocator.allocated, replay.allocator.reserved)
        meter.events = array("q")
        meter.reset_peak()
        mode.operations.clear()
        with torch.no_grad(), mode.count_with(meter):
            call()
        replay.play(meter.events)
    made, weights = replay.result(), 0 if is_growth else sum(sizes)
    if is_growth:
        made = CardMemory(made.allocated - before[0], made.reserved - before[1], 0, 0)
    seconds = profile.seconds(profile.cost(mode.operations))
    return Prediction(meter.peak + weights, made, weights, others=seconds)


def make_vae(mode: ValuelessTensors, dtype: torch.dtype, channels: int = 4) -> Any:
    """The autoencoder of Stable Diffusion, of diffusers, valueless."""
    settings = {**ARCHITECTURES["sd15"].vae, "latent_channels": channels}
    with torch.device("meta"):
        vae = diffusers.AutoencoderKL(**settings)
    return mode.discard_values(vae, dtype)


def predict_vae(
    card: str, dtype: torch.dtype, height: int, width: int, *, decodes: bool
) -> Prediction:
    """Decoding or encoding one picture, above the weights."""
    mode = ValuelessTensors()
    vae = make_vae(mode, dtype)
    shape = (1, 4, height // 8, width // 8) if decodes else (1, 3, height, width)
    given: Tensor = mode.empty(shape, dtype)
    call = partial(vae.decode if decodes else vae.encode, given, return_dict=False)
    return predict_call(vae, mode, card, call, is_growth=True)


def predict_loading(architecture: str, card: str, dtype: torch.dtype) -> Prediction:
    """All weights on a card, before anything is computed.

    Args:
        architecture: one of `ARCHITECTURES`.
        card: one of `GPU_SPECS`.
        dtype: of the weights.
    """
    mode, profile = ValuelessTensors(), DeviceProfile.from_name(card)
    pipe = build_valueless_pipeline(as_diffusers(architecture, mode, dtype), mode, dtype)
    assert profile.libraries is not None
    weights, replay = WeightSizes.of(pipe.strategies.networks), CardReplay(profile.libraries)
    replay.load(weights.tensors)
    return Prediction(weights.resident, replay.result(), weights.resident)
