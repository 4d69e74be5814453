"""A plan counts what the checkpoint's model card shows, where nothing else is asked for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

import dpnb
from dpnb.loading.model_card import CARD
from dpnb.planning.planner import plan
from dpnb.planning.table import PlanTable
from dpnb.planning.valueless import ValuelessTensors
from dpnb.planning.valueless_pipeline import build_valueless_pipeline
from dpnb.planning.workload import Workload
from dpnb.planning.workload_card import find_card_numbers
from tests.cards import SDXL_TURBO, Z_IMAGE_TURBO, card
from tests.hub_server import HubServer
from tests.planning.z_image import SMALL, write_z_image

PLAIN: dict[str, Any] = {"device": "RTX 3060", "plans": [frozenset()]}

LITTLE = Z_IMAGE_TURBO.replace("1024", "64")


@pytest.fixture(scope="module")
def without_card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("z-image-turbo")
    write_z_image(target, SMALL)
    return target


@pytest.fixture
def folder(without_card: Path, tmp_path: Path) -> Path:
    target = Path(shutil.copytree(without_card, tmp_path / "Z-Image-Turbo"))
    (target / CARD).write_text(LITTLE)
    return target


def test_a_folder_s_card_says_what_is_drawn(folder: Path, without_card: Path) -> None:
    table = plan(folder, **PLAIN)
    drawn = table.workload
    assert (drawn.steps, drawn.height, drawn.width, drawn.guidance_scale) == (9, 64, 64, 0.0)
    assert drawn.describe() == (
        "1 picture of 64 × 64, 9 steps (model card: size, steps, guidance 0.0)"
    )
    said = plan(without_card, height=64, width=64, steps=9, guidance_scale=0.0, **PLAIN)
    assert table.rows == said.rows
    assert drawn == said.workload
    assert said.workload.describe() == "1 picture of 64 × 64, 9 steps, guidance 0"
    whole = plan(without_card, height=64, width=64, **PLAIN).rows[0]
    assert table.rows[0].seconds < 0.3 * whole.seconds


def test_what_is_asked_for_goes_before_the_card(folder: Path) -> None:
    drawn = plan(folder, steps=3, guidance_scale=4.0, **PLAIN).workload
    assert (drawn.steps, drawn.guidance_scale, drawn.height) == (3, 4.0, 64)
    assert drawn.describe() == "1 picture of 64 × 64, 3 steps, guidance 4 (model card: size)"
    given = plan(folder, arguments={"num_inference_steps": 2}, **PLAIN).workload
    assert "steps" not in given.from_card
    own = plan(folder, workload=Workload(height=64, width=64), **PLAIN).workload
    assert (own.steps, own.from_card) == (50, ())


def test_a_plan_is_kept_with_where_its_numbers_came_from(folder: Path, tmp_path: Path) -> None:
    card_of_length = LITTLE.replace("height=64,", "height=64,\n    max_sequence_length=256,")
    (folder / CARD).write_text(card_of_length)
    table = plan(folder, **PLAIN)
    assert table.workload.more == (("max_sequence_length", 256),)
    assert "max sequence length 256" in table.workload.describe()
    table.save(tmp_path / "plans.json")
    read = PlanTable.load(tmp_path / "plans.json")
    assert read.workload == table.workload
    assert read.workload.describe() == table.workload.describe()


def test_of_a_repository_the_card_is_fetched(hub: HubServer, folder: Path) -> None:
    hub.add("someone/Z-Image-Turbo", folder)
    table = plan("someone/Z-Image-Turbo", **PLAIN)
    assert table.workload.describe().endswith("9 steps (model card: size, steps, guidance 0.0)")
    assert CARD in hub.fetched()
    hub.failure = 503
    studio = build_valueless_pipeline(folder, ValuelessTensors())
    offline = {"local_files_only": True}
    assert find_card_numbers("someone/Z-Image-Turbo", studio, offline)["num_inference_steps"] == 9


def test_a_repository_without_a_card_is_planned_for(hub: HubServer, without_card: Path) -> None:
    hub.add("someone/without-card", without_card)
    drawn = plan("someone/without-card", height=64, width=64, **PLAIN).workload
    assert (drawn.steps, drawn.from_card) == (50, ())


def test_of_a_loaded_pipeline_the_card_of_its_folder_counts(
    hub: HubServer, folder: Path, tmp_path: Path
) -> None:
    pipe = diffusers.ZImagePipeline.from_pretrained(folder, dtype=torch.float32)
    for model in (pipe, dpnb.attach(pipe)):
        assert plan(model, **PLAIN).workload.steps == 9
    shutil.move(folder, tmp_path / "elsewhere")
    assert plan(pipe, height=64, width=64, **PLAIN).workload.steps == 50
    assert hub.requests == []


def test_dpnb_s_own_pipelines_have_cards_too(tmp_path: Path) -> None:
    folder = tmp_path / "sdxl-turbo"
    dpnb.random_pipeline("tiny-sdxl").save_pretrained(folder)
    pipe = dpnb.DiffusionPipeline.from_pretrained(folder)
    assert plan(folder, **PLAIN).workload.steps == 50
    (folder / CARD).write_text(SDXL_TURBO)
    for model in (folder, pipe):
        drawn = plan(model, **PLAIN).workload
        assert (drawn.steps, drawn.guidance_scale) == (1, 0.0)
    edit = dpnb.StableDiffusionXLImg2ImgPipeline.from_pretrained(folder)
    drawn = plan(edit, **PLAIN).workload
    assert (drawn.steps, dict(drawn.more)["strength"]) == (2, 0.5)


def test_flux_without_a_card_makes_four_steps_still(tmp_path: Path) -> None:
    folder = tmp_path / "flux"
    pipe: Any = dpnb.random_pipeline("tiny-flux")
    pipe.transformer = pipe.transformer.from_config(pipe.transformer.config, guidance_embeds=False)
    pipe.save_pretrained(folder)
    studio = build_valueless_pipeline(folder, ValuelessTensors())
    assert find_card_numbers(folder, studio, {}) == {}
    assert plan(folder, **PLAIN).workload.steps == 4
    (folder / CARD).write_text(card("Fox", 'pipe("a fox", num_inference_steps=6)'))
    assert plan(folder, **PLAIN).workload.steps == 6


def test_a_broken_card_changes_nothing(folder: Path, without_card: Path) -> None:
    (folder / CARD).write_bytes(b"```python\npipe(num_inference_steps=\xff)\n```")
    size: dict[str, Any] = {"height": 64, "width": 64, "steps": 2}
    assert plan(folder, **size, **PLAIN).rows == plan(without_card, **size, **PLAIN).rows
