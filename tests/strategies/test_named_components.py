"""Components by name: read alike by all strategies, and told where they are not there."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
import torch

from dpnb.strategies.catalog import CATALOG
from dpnb.strategies.device_map import DeviceMap
from dpnb.strategies.lora import LoRA
from dpnb.strategies.named_components import parse_components
from dpnb.strategies.perturbed_attention import PerturbedAttention
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from dpnb.strategies.precision import Precision
from dpnb.strategies.quantization import Quantization
from dpnb.strategies.storage import LayerwiseCasting
from dpnb.strategies.strategy import Strategy
from tests.strategies.pipes import build

KINDS: list[Any] = [
    kind for kind in CATALOG if "components" in {field.name for field in fields(kind)}
]


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_read_in_every_form(kind: Any) -> None:
    wanted = kind(components=("unet",))
    for form in ("unet", ["unet"], {"unet"}, ("unet", "unet"), iter(["unet"])):
        assert kind(components=form) == wanted
        assert hash(kind(components=["unet"])) == hash(wanted)
    for wrong in (5, None, {"unet": 1}, (1, 2), b"unet"):
        with pytest.raises(TypeError, match=r"components is .*give names of components"):
            kind(components=wrong)


@pytest.mark.parametrize("kind", [ModelOffload, SequentialOffload])
def test_names_of_those_that_stay_are_read_so_too(kind: Any) -> None:
    assert kind(exclude="vae") == kind(exclude=["vae"]) == kind(exclude=("vae",))
    with pytest.raises(TypeError, match="exclude is 5; give names"):
        kind(exclude=5)


def test_a_set_of_names_has_an_order() -> None:
    assert parse_components("components", {"vae", "unet", "text_encoder"}) == (
        "text_encoder",
        "unet",
        "vae",
    )


def test_names_that_are_not_there_are_told() -> None:
    pipe = build("tiny-sd")
    for kind in KINDS:
        strategy: Strategy = kind(components=("unet", "brain"))
        reason = str(pipe.strategies.obstacle(strategy))
        assert "names brain, and there are text_encoder, unet, vae." in reason


@pytest.mark.parametrize("kind", [kind for kind in CATALOG if fields(kind)])
def test_whatever_a_field_is_given_it_reads_or_says_why_not(kind: Any) -> None:
    for field in fields(kind):
        for value in (["a"], [["a"]], [("a", "b", "c")], {"a": 1}, {}, (), object(), b"x", "", "a"):
            try:
                made = kind(**{field.name: value})
            except (TypeError, ValueError) as error:
                message = str(error)
                assert message[-1] in ".)", message
                assert "unhashable" not in message
            else:
                assert hash(made) == hash(kind.from_json(made.to_json()))


def test_one_name_by_itself_is_one() -> None:
    assert LoRA(adapters="style") == LoRA(adapters=("style",))  # type: ignore[arg-type]
    assert PerturbedAttention(layers="mid") == PerturbedAttention()  # type: ignore[arg-type]
    skipped: Any = "to_k"
    assert Quantization(modules_to_not_convert=skipped).modules_to_not_convert == ("to_k",)


def test_what_is_told_twice_or_has_no_name_is_refused() -> None:
    with pytest.raises(ValueError, match="kind names unet twice; name it once"):
        Quantization((("unet", "int8"), ("unet", "fp8")))
    with pytest.raises(ValueError, match="device_map names unet twice"):
        DeviceMap((("unet", "cpu"), ("unet", "disk")))
    with pytest.raises(ValueError, match="components has a name without letters; give names of"):
        Precision(components=("",))


def test_devices_are_read_as_elsewhere() -> None:
    given: Any = torch.device("cuda", 1)
    assert ModelOffload(given) == ModelOffload("cuda:1")
    assert LayerwiseCasting(torch.bfloat16) == LayerwiseCasting("bfloat16")  # type: ignore[arg-type]
    homes: Any = {"unet": "disk", "vae": torch.device("cpu")}
    sizes: Any = {"cpu": 1 << 30, 0: "4GiB"}
    assert DeviceMap(homes) == DeviceMap.of(homes) == DeviceMap((("unet", "disk"), ("vae", "cpu")))
    assert DeviceMap("balanced", sizes) == DeviceMap.of("balanced", sizes)
    assert DeviceMap("auto", sizes).max_memory[0] == ("cpu", str(1 << 30))
