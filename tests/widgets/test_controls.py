from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import pytest

from dpnb.strategies.attention import AttentionSlicing
from dpnb.strategies.catalog import CATALOG
from dpnb.strategies.device_map import DeviceMap
from dpnb.strategies.freeu import FreeU
from dpnb.strategies.networks import Networks
from dpnb.strategies.placement import ModelOffload, SequentialOffload, compute_budget_limits
from dpnb.strategies.settings import (
    describe_strategy,
    hints,
    list_presets,
    list_settings,
    strategy_label,
)
from dpnb.strategies.storage import LayerwiseCasting
from dpnb.strategies.strategy import Slot, Strategy
from dpnb.strategies.undo import Undo
from dpnb.widgets.controls import Choice, Control, Flag, Number, Optional, TextField, control_for
from tests.widgets.late_browser import sliders


@dataclass(frozen=True, repr=False)
class VaeTwisting(Strategy):
    """Turn pictures.

    Args:
        turns: how often; as often as it
            takes by default.
        way: which way.
        spill: whether it may drip.
        factor: by how much.
    """

    turns: int | None = None
    way: Literal["left", "right"] = "left"
    spill: bool = False
    factor: float = field(default=1.5, metadata=hints("strength", low=0, high=2, step=0.5))
    slot: ClassVar = Slot.CODER

    def apply(self, networks: Networks, undo: Undo) -> None:
        """Do nothing."""


def controls(kind: type[Strategy], networks: Networks) -> dict[str, Control]:
    return {setting.name: control_for(setting, networks) for setting in list_settings(kind)}


@pytest.fixture
def networks(pipe: Any) -> Networks:
    return pipe.strategies.networks  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", CATALOG, ids=lambda kind: kind.__name__)
def test_the_controls_of_every_strategy_show_its_defaults(
    kind: type[Strategy], networks: Networks
) -> None:
    found = controls(kind, networks)
    assert kind(**{name: control.get() for name, control in found.items()}) == kind()


@pytest.mark.parametrize("kind", CATALOG, ids=lambda kind: kind.__name__)
def test_what_a_browser_adds_to_the_steps_of_a_slider_is_not_shown(
    kind: type[Strategy], networks: Networks
) -> None:
    for control in controls(kind, networks).values():
        for slider in sliders(control.widget):
            for place in range(1, 4):
                wanted = min(round(slider.min + place * slider.step, 6), slider.max)
                slider.set_state({"value": wanted * (1 + 1e-15)})
                assert wanted in [part.value for part in control.inputs]


def test_a_new_strategy_needs_no_code_of_panels(networks: Networks) -> None:
    found = controls(VaeTwisting, networks)
    kinds = [type(control) for control in found.values()]
    assert kinds == [Optional, Choice, Flag, Number]
    for name, value in {"turns": 3, "way": "right", "spill": True, "factor": 0.5}.items():
        found[name].set(value)
        assert found[name].get() == value


def test_settings_say_what_the_documentation_says() -> None:
    turns, *_, factor = list_settings(VaeTwisting)
    assert turns.help == "how often; as often as it takes by default."
    assert factor.label == "strength"


def test_strategies_are_described_in_words() -> None:
    assert strategy_label(VaeTwisting) == "VAE twisting"
    assert (
        describe_strategy(VaeTwisting(2, "right", True)) == "VAE twisting (turns 2, right, spill)"
    )
    assert describe_strategy(AttentionSlicing("max")) == "Attention slicing (max)"
    assert describe_strategy(AttentionSlicing(2)) == "Attention slicing (heads at once 2)"
    assert describe_strategy(ModelOffload()) == "Model offload"
    assert strategy_label(FreeU) == "FreeU"


def test_named_settings_are_those_of_the_class() -> None:
    assert list_presets(FreeU)["Stable Diffusion XL"] == FreeU.sdxl()
    assert list_presets(AttentionSlicing) == {}


@pytest.mark.parametrize("value", ["auto", "max", 1, 2])
def test_a_number_can_take_the_place_of_a_word(value: Any, networks: Networks) -> None:
    [control] = controls(AttentionSlicing, networks).values()
    control.set(value)
    assert control.get() == value


def test_numbers_stay_within_what_the_networks_allow(networks: Networks) -> None:
    least, most = compute_budget_limits(networks)
    control = controls(SequentialOffload, networks)["budget"]
    assert isinstance(control, Optional)
    [switch, box] = control.inputs
    assert control.get() is None
    switch.value = True
    assert least <= control.get() <= least + (1 << 18)
    assert most <= box.max * (1 << 20) <= most + (1 << 18)
    control.set("4GiB")
    assert control.get() == 4 << 30
    control.set(None)
    assert control.get() is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", "balanced"),
        ("cpu", "cpu"),
        ('[("unet", "disk"), ("vae", "cpu")]', (("unet", "disk"), ("vae", "cpu"))),
    ],
)
def test_text_can_be_a_word_or_python(text: str, value: Any, networks: Networks) -> None:
    control = controls(DeviceMap, networks)["device_map"]
    assert isinstance(control, TextField)
    control.widget.value = text
    assert control.get() == value
    control.set(value)
    assert control.get() == value


def test_text_can_be_a_list_with_commas(networks: Networks) -> None:
    control = controls(ModelOffload, networks)["exclude"]
    assert isinstance(control, TextField)
    control.widget.value = "unet, vae"
    assert control.get() == ("unet", "vae")
    control.set(("unet",))
    assert control.widget.value == "unet"
    control.widget.value = "(unet"
    with pytest.raises(ValueError, match="not Python"):
        control.get()


def test_a_change_by_a_person_is_heard(networks: Networks) -> None:
    heard: list[Any] = []
    control = controls(LayerwiseCasting, networks)["storage_dtype"]
    control.on_change(lambda: heard.append(control.get()))
    control.inputs[0].value = "bfloat16"
    assert heard == ["bfloat16"]
