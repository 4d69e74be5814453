"""All strategies, in the order in which menus show them."""

from __future__ import annotations

from typing import TypeAlias

from dpnb.strategies.attention import AttentionSlicing, XFormers
from dpnb.strategies.attention_kernel import AttentionKernel
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
from dpnb.strategies.networks import Networks
from dpnb.strategies.perturbed_attention import PerturbedAttention
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

Kinds: TypeAlias = tuple[type[Strategy], ...]

CATALOG: Kinds = (
    ModelOffload,
    SequentialOffload,
    DeviceMap,
    AttentionKernel,
    XFormers,
    AttentionSlicing,
    Compile,
    QKVFusion,
    ConditioningCache,
    TokenMerging,
    StepCache,
    Precision,
    LayerwiseCasting,
    Quantization,
    ChannelsLast,
    FreeU,
    PerturbedAttention,
    GuidanceInterval,
    LoRA,
    TinyDecoder,
    VaeTiling,
    VaeSlicing,
)

COMPONENT_SWITCHES: Kinds = (ComponentFusion, ComponentFreeU, ComponentTiling, ComponentSlicing)
"""What components that dpnb did not write can do by themselves."""

KINDS = {kind.__name__: kind for kind in CATALOG + COMPONENT_SWITCHES}
"""Every strategy by its name."""


def catalog_for(networks: Networks) -> Kinds:
    """The strategies that are worth showing for `networks`.

    All of the catalog; and where others have written a network, what that can do by itself.
    """
    return CATALOG + COMPONENT_SWITCHES if networks.has_foreign else CATALOG
