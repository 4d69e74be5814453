"""Strategies are values whatever form their numbers had: equal, printed and stored alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from dpnb.strategies.attention import AttentionSlicing
from dpnb.strategies.catalog import CATALOG
from dpnb.strategies.compilation import Compile
from dpnb.strategies.device_map import DeviceMap
from dpnb.strategies.freeu import FreeU
from dpnb.strategies.guidance_interval import GuidanceInterval
from dpnb.strategies.lora import LoRA
from dpnb.strategies.perturbed_attention import PerturbedAttention
from dpnb.strategies.placement import SequentialOffload
from dpnb.strategies.plans import plan_from_json, plan_to_json, plan_to_python
from dpnb.strategies.projection import QKVFusion
from dpnb.strategies.quantization import Quantization
from dpnb.strategies.step_cache import StepCache
from dpnb.strategies.strategy import Strategy
from dpnb.strategies.token_merging import TokenMerging
from dpnb.strategies.vae import VaeTiling
from tests.forms import FORMS, NO_NUMBERS

NUMBERS: list[tuple[type[Strategy], dict[str, Any]]] = [
    (AttentionSlicing, {"slice_size": 2}),
    (Compile, {"regional": False}),
    (FreeU, {"s1": 0.9, "s2": 0.2, "b1": 1.3, "b2": 1.4}),
    (GuidanceInterval, {"start": 0.25, "end": 0.75}),
    (LoRA, {"scale": 0.7, "weights": (0.3, 2.0)}),
    (PerturbedAttention, {"scale": 2.5, "adaptive_scale": 0.001}),
    (QKVFusion, {"unet": True, "vae": False}),
    (Quantization, {"group_size": 32}),
    (SequentialOffload, {"budget": 1 << 24}),
    (StepCache, {"interval": 3, "levels": 2, "threshold": 0.25, "first": 2, "last": 0}),
    (TokenMerging, {"ratio": 0.25, "levels": 2}),
    (VaeTiling, {"tile": 64, "spill": True, "blended": False}),
]
FURTHER: dict[type[Strategy], dict[str, Any]] = {
    LoRA: {"adapters": ("a", "b")},
    Quantization: {"kind": "int4"},
}


def made(kind: type[Strategy], values: dict[str, Any]) -> Strategy:
    return kind(**{**FURTHER.get(kind, {}), **values})


def test_the_table_holds_every_number_of_every_strategy() -> None:
    declared = {
        (kind, field.name)
        for kind in CATALOG
        for field in fields(kind)
        if any(word in str(field.type) for word in ("int", "float", "bool", "SliceSize"))
    }
    assert {(kind, name) for kind, values in NUMBERS for name in values} == declared


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize(("kind", "values"), NUMBERS, ids=[k.__name__ for k, _ in NUMBERS])
def test_a_strategy_is_the_same_value_in_every_form(
    kind: type[Strategy], values: dict[str, Any], form: Callable[[Any], Any]
) -> None:
    expected = made(kind, values)
    given = made(kind, {name: form(value) for name, value in values.items()})
    assert (given, hash(given), repr(given)) == (expected, hash(expected), repr(expected))
    written = json.dumps(plan_to_json([given]))
    assert written == json.dumps(plan_to_json([expected]))
    assert plan_from_json(json.loads(written)) == {expected}
    assert plan_to_python([given]) == plan_to_python([expected])
    assert [type(getattr(given, name)) for name in values] == list(map(type, values.values()))


@pytest.mark.parametrize(("kind", "values"), NUMBERS, ids=[k.__name__ for k, _ in NUMBERS])
def test_what_is_no_number_makes_no_strategy(kind: type[Strategy], values: dict[str, Any]) -> None:
    for name, value in values.items():
        for label, wrong in NO_NUMBERS.items():
            if isinstance(value, bool) and "truth" in label:
                continue
            given = (value[0], wrong) if isinstance(value, tuple) else wrong
            with pytest.raises((TypeError, ValueError), match=f"({name} is |'ten' is not a size)"):
                made(kind, {**values, name: given})


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_device_maps_take_sizes_and_numbers_of_devices(form: Callable[[Any], Any]) -> None:
    expected = DeviceMap.of({"unet": "cpu"}, {"cpu": 1 << 24})
    assert DeviceMap.of({"unet": "cpu"}, {"cpu": form(1 << 24)}) == expected
    assert DeviceMap.of({"unet": form(1)}) == DeviceMap.of({"unet": 1})
