from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ipywidgets as w
import pytest
import torch
from safetensors.torch import save_file

import dpnb
from dpnb.errors import CheckpointError
from dpnb.strategies.lora import LoRA
from dpnb.widgets.dashboard import Dashboard
from dpnb.widgets.lora_adapters import LoraAdapters
from dpnb.widgets.lora_field import LoraField
from dpnb.widgets.session_error import SessionError
from dpnb.widgets.state import Request
from tests.hub_server import HubServer
from tests.reference.checkpoints import pipeline
from tests.widgets.chosen_files import count_widgets
from tests.widgets.conftest import TIMEOUT, Gate, is_shown

REQUEST = Request("a red apple", steps=2, width=32, height=32)


def write_lora(pipe: Any, path: Path, seed: int, **metadata: str) -> str:
    """Write low-rank weights for the queries of a UNet."""
    random = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, weight in pipe.unet.state_dict().items():
        if name.endswith("to_q.weight"):
            key, (rows, columns) = f"unet.{name.removesuffix('.weight')}", weight.shape
            tensors[f"{key}.lora_A.weight"] = torch.randn(2, columns, generator=random)
            tensors[f"{key}.lora_B.weight"] = torch.randn(rows, 2, generator=random)
    save_file(tensors, path, metadata)
    return str(path)


@pytest.fixture
def places(tiny: Any, tmp_path: Path) -> tuple[str, str]:
    """Two files, the first with words."""
    tags = json.dumps({"10_cats": {"cat": 3}})
    words = {"modelspec.trigger_phrase": "my style", "ss_tag_frequency": tags}
    first = write_lora(tiny, tmp_path / "my style.v1.safetensors", 1, **words)
    return first, write_lora(tiny, tmp_path / "other.safetensors", 2)


@pytest.fixture
def board(pipe: Any) -> Iterator[Dashboard]:
    before = count_widgets()
    board = dpnb.dashboard(pipe, REQUEST)
    yield board
    board.close()
    assert count_widgets() == before
    pipe.unload_lora_weights()


@pytest.fixture
def field(board: Dashboard) -> LoraField:
    return board.strategies.loras


@pytest.fixture
def adapters(board: Dashboard) -> LoraAdapters:
    return board.session.loras


def picture(pipe: Any) -> bytes:
    return bytes(pipe(**REQUEST.arguments()).images[0].tobytes())


def test_it_is_hidden_behind_a_button(field: LoraField) -> None:
    assert field.more.description == "LoRA"
    assert not is_shown(field.children[1])
    field.more.value = True
    assert is_shown(field.children[1])
    assert field.more.description == "LoRA"


def test_weights_are_loaded_and_mixed_as_the_pipelines_own_methods_do(
    field: LoraField, adapters: LoraAdapters, pipe: Any, places: tuple[str, str]
) -> None:
    plain = picture(pipe)
    adapters.load(places[0], 0.5).wait(TIMEOUT)
    adapters.load(places[1], 2.0).wait(TIMEOUT)
    assert list(field.rows) == ["my_style_v1", "other"]
    assert [row.scale.value for row in field.rows.values()] == [0.5, 2.0]
    mixed = picture(pipe)
    field.rows["other"].scale.value = 0.25
    assert pipe.strategies.find(LoRA) == LoRA(1.0, ("my_style_v1", "other"), (0.5, 0.25))
    pipe.unload_lora_weights()
    assert field.rows == {}
    pipe.load_lora_weights(places[0], "a")
    pipe.load_lora_weights(places[1], "b")
    pipe.set_adapters(["a", "b"], [0.5, 2.0])
    assert picture(pipe) == mixed != plain
    assert list(field.rows) == ["a", "b"]


def test_a_button_takes_weights_away_exactly(
    field: LoraField, adapters: LoraAdapters, pipe: Any, places: tuple[str, str]
) -> None:
    plain = picture(pipe)
    adapters.load(places[0]).wait(TIMEOUT)
    styled = picture(pipe)
    adapters.load(places[1]).wait(TIMEOUT)
    field.rows["other"].remove.click()
    assert picture(pipe) == styled != plain
    field.rows["my_style_v1"].remove.click()
    assert field.rows == {}
    assert picture(pipe) == plain
    assert pipe.get_list_adapters() == {}


def test_the_buttons_load_what_the_fields_say(
    field: LoraField, adapters: LoraAdapters, places: tuple[str, str]
) -> None:
    field.load.click()
    assert "nothing to load" in field.message.value
    field.place.value, field.scale.value = places[1], 0.75
    field.load.click()
    assert adapters.task is not None
    adapters.task.wait(TIMEOUT)
    assert adapters.state.error == ""
    assert field.rows["other"].scale.value == 0.75
    assert "other is loaded" in field.message.value


def test_a_word_goes_into_the_prompt_once(
    board: Dashboard, field: LoraField, adapters: LoraAdapters, places: tuple[str, str]
) -> None:
    adapters.load(places[0]).wait(TIMEOUT)
    assert [button.description for button in field.rows["my_style_v1"].buttons] == [
        "my style",
        "cat",
    ]
    for button in 2 * field.rows["my_style_v1"].buttons:
        button.click()
    assert board.run.prompt.value == "a red apple, my style, cat"


def test_without_a_prompt_words_are_only_shown(pipe: Any, places: tuple[str, str]) -> None:
    panel = dpnb.StrategyPanel(pipe)
    panel.session.loras.load(places[0]).wait(TIMEOUT)
    assert all(button.disabled for button in panel.loras.rows["my_style_v1"].buttons)
    panel.close()
    pipe.unload_lora_weights()


def test_what_cannot_be_loaded_is_said_and_nothing_changes(
    field: LoraField, adapters: LoraAdapters, pipe: Any, places: tuple[str, str], tmp_path: Path
) -> None:
    adapters.load(places[0]).wait(TIMEOUT)
    before = pipe.strategies.active
    foreign = tmp_path / "foreign.safetensors"
    save_file({"transformer.layer.lora_A.weight": torch.zeros(1, 1)}, foreign)
    for place in (str(foreign), str(tmp_path / "none.safetensors")):
        with pytest.raises(CheckpointError):
            adapters.load(place).wait(TIMEOUT)
        assert 'role="alert"' in field.message.value
        assert not field.load.disabled
    assert pipe.strategies.active == before
    assert list(field.rows) == ["my_style_v1"]


def test_scales_land_between_two_steps_and_loading_waits_for_the_end(
    field: LoraField,
    adapters: LoraAdapters,
    board: Dashboard,
    pipe: Any,
    gate: Gate,
    places: tuple[str, str],
) -> None:
    adapters.load(places[0]).wait(TIMEOUT)
    job = board.draw()
    gate.reached()
    gate.open()
    gate.reached()
    field.rows["my_style_v1"].scale.value = 0.5
    assert pipe.strategies.find(LoRA) == LoRA(1.0, ("my_style_v1",))
    assert field.rows["my_style_v1"].scale.value == 0.5
    with pytest.raises(SessionError, match="is drawn"):
        adapters.load(places[1])
    field.rows["my_style_v1"].remove.click()
    assert "is drawn" in field.message.value
    gate.open(1000)
    job.wait(TIMEOUT)
    assert pipe.strategies.find(LoRA) == LoRA(1.0, ("my_style_v1",), (0.5,))
    assert list(field.rows) == ["my_style_v1"]


def test_what_code_does_is_shown(
    field: LoraField, adapters: LoraAdapters, pipe: Any, places: tuple[str, str]
) -> None:
    pipe.load_lora_weights(places[0], "style")
    assert field.rows["style"].scale.value == 1.0
    pipe.set_adapters("style", {"unet": {"down": 0.5, "mid": 1.0, "up": 1.0}})
    assert field.rows["style"].scale.disabled
    adapters.load(places[1]).wait(TIMEOUT)
    lora = pipe.strategies.find(LoRA)
    assert isinstance(lora.weights[0], tuple)
    pipe.disable_lora()
    assert [row.scale.value for row in field.rows.values()] == [0.0, 0.0]


def test_a_file_of_a_repository_is_named_behind_its_name(
    adapters: LoraAdapters, hub: HubServer, places: tuple[str, str]
) -> None:
    files = {f"{n}.safetensors": Path(place).read_bytes() for n, place in enumerate(places)}
    hub.add("someone/styles", files)
    with pytest.raises(CheckpointError, match="several files"):
        adapters.load("someone/styles").wait(TIMEOUT)
    adapters.load("someone/styles/1.safetensors").wait(TIMEOUT)
    adapters.load("someone/styles/1.safetensors").wait(TIMEOUT)
    assert [lora.name for lora in adapters.state.loaded] == ["1", "1_2"]


def test_a_pipeline_of_others_is_served_by_its_own_methods(places: tuple[str, str]) -> None:
    pipe = pipeline("sd2")
    pipe.set_progress_bar_config(disable=True)
    place = write_lora(pipe, Path(places[0]).with_name("foreign.safetensors"), 3)
    plain = picture(pipe)
    board = dpnb.dashboard(pipe, REQUEST)
    field, adapters = board.strategies.loras, board.session.loras
    adapters.load(place, 0.5).wait(TIMEOUT)
    assert pipe.get_active_adapters() == ["foreign"]
    half = picture(pipe)
    field.rows["foreign"].scale.value = 1.0
    whole = picture(pipe)
    assert len({plain, half, whole}) == 3
    board.session.enable(dpnb.AttentionSlicing())
    assert list(field.rows) == ["foreign"]
    field.rows["foreign"].remove.click()
    assert field.rows == {}
    board.session.use(frozenset())
    assert picture(pipe) == plain
    board.close()
    dpnb.attach(pipe).detach()
    w.Widget.close_all()


def test_the_part_is_left_out_where_nothing_can_be_loaded() -> None:
    class Plain(type(pipeline("sd1"))):  # type: ignore[misc]
        load_lora_weights = None

    pipe = Plain(**pipeline("sd1").components)
    panel = dpnb.StrategyPanel(pipe)
    assert not is_shown(panel.loras)
    panel.close()
    dpnb.attach(pipe).detach()
    w.Widget.close_all()
