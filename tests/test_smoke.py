"""Every library that dpnb needs, at work; run also with the oldest versions that are promised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import dpnb
from dpnb.bench.sweep import sweep
from dpnb.cli import app
from dpnb.nn.quantized import quantization_of
from dpnb.planning.workload import Workload
from tests.hub_server import HubServer
from tests.strategies.pipes import SAMPLES, build, draw

pytestmark = pytest.mark.exhaustive

FAMILIES = ("tiny-sd", "tiny-sdxl", "tiny-flux", "tiny-ldm")
WORKLOAD = Workload(height=32, width=32, steps=1)


def load(name: str | Path, **arguments: Any) -> Any:
    pipe = dpnb.DiffusionPipeline.from_pretrained(name, **arguments)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    dpnb.random_pipeline("tiny-sd").save_pretrained(folder)
    return folder


def test_every_public_name_can_be_imported() -> None:
    assert [name for name in dpnb.__all__ if not dir(getattr(dpnb, name))] == []


def test_the_model_inside_draws() -> None:
    images = load("dpnb/emoji-64")("red apple", num_inference_steps=4).images
    red, green, blue = np.asarray(images[0])[24:48, 16:48].mean(axis=(0, 1))
    assert red > green > 0
    assert red > blue > 0


@pytest.mark.parametrize(
    ("name", "file"), [*((name, "folder") for name in FAMILIES), ("tiny-sd", "file.dduf")]
)
def test_a_pipeline_is_saved_and_draws_the_same_again(tmp_path: Path, name: str, file: str) -> None:
    pipe = dpnb.random_pipeline(name)
    pipe.set_progress_bar_config(disable=True)
    pipe.save_pretrained(tmp_path / file)
    again = load(tmp_path / file)
    for part in (name for name, one in pipe.components.items() if isinstance(one, torch.nn.Module)):
        stored = getattr(again, part).state_dict()
        weights = getattr(pipe, part).state_dict()
        assert all(torch.equal(stored[key], weight) for key, weight in weights.items())
    # What is mapped from a file lies elsewhere in memory, which may change how sums are rounded.
    torch.testing.assert_close(draw(again, steps=1), draw(pipe, steps=1))


def test_every_strategy_can_be_switched_on() -> None:
    pipe = build("tiny-sd")
    plain = draw(pipe, steps=1)
    for strategy in {type(sample): sample for sample in SAMPLES}.values():
        if pipe.strategies.obstacle(strategy) is None:
            with pipe.strategies.using(strategy):
                assert draw(pipe, steps=1).isfinite().all()
    assert torch.equal(draw(pipe, steps=1), plain)


@pytest.mark.parametrize(
    ("kind", "stored"), [("int8", "int8"), ("fp8", "float8"), ("nf4", "nf4"), ("fp4", "fp4")]
)
def test_a_quantized_network_draws_nearly_the_same(kind: str, stored: str) -> None:
    pipe = load("dpnb/emoji-64", quantization_config={"unet": kind})
    assert quantization_of(pipe.unet) == stored
    plain = draw(load("dpnb/emoji-64"), steps=2)
    assert 0 < (draw(pipe, steps=2) - plain).abs().mean() < 0.1


def test_a_repository_is_downloaded(hub: HubServer, tiny: Path, tmp_path: Path) -> None:
    hub.add("someone/tiny", tiny)
    assert torch.equal(draw(load("someone/tiny", cache_dir=tmp_path)), draw(load(tiny)))


@pytest.mark.slow
def test_a_sweep_is_drawn(tmp_path: Path) -> None:
    pipe = build("tiny-sd")
    plans = [dpnb.VaeTiling(), dpnb.SequentialOffload(device="simulated:64GiB/s")]
    report = sweep(pipe, plans, WORKLOAD, repeats=1, progress=False, device="simulated:64GiB/s")
    assert [one.peaks for one in report.finished] == [
        one.predicted.peaks for one in report.finished if one.predicted is not None
    ]
    assert {file.suffix for file in report.write(tmp_path)} >= {".png", ".json"}


def test_a_dashboard_draws() -> None:
    board = dpnb.dashboard(build("tiny-sd"), dpnb.Request("a red fox", steps=1))
    board.draw().wait(60)
    assert "<svg" in board.memory.chart.value
    assert "Picture of" in board.run.picture.value
    board.close()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["draw", "red apple", "--steps=1", "--out=apple.png"],
        ["plan", "tiny-sd", "--size=32", "--device=simulated:8GiB/s"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_the_command_line_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert result.output.strip()
