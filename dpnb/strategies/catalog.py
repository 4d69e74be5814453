"""All strategies, in the order in which menus show them."""

from __future__ import annotations

from dpnb.strategies.attention import AttentionSlicing, XFormers
from dpnb.strategies.conditioning import ConditioningCache
from dpnb.strategies.device_map import DeviceMap
from dpnb.strategies.freeu import FreeU
from dpnb.strategies.lora import LoRA
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from dpnb.strategies.projection import QKVFusion
from dpnb.strategies.storage import ChannelsLast, LayerwiseCasting
from dpnb.strategies.strategy import Strategy
from dpnb.strategies.vae import VaeSlicing, VaeTiling

CATALOG: tuple[type[Strategy], ...] = (
    ModelOffload,
    SequentialOffload,
    DeviceMap,
    XFormers,
    AttentionSlicing,
    QKVFusion,
    ConditioningCache,
    LayerwiseCasting,
    ChannelsLast,
    FreeU,
    LoRA,
    VaeTiling,
    VaeSlicing,
)
