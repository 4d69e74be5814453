"""Settings that a constructor declares, alone and over those of a scheduler that there is."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

import dpnb
from dpnb.configuration_utils import ConfigMixin, register_to_config


class Marked(dpnb.DDIMScheduler):
    @register_to_config
    def __init__(self, num_train_timesteps: int = 1000, mark: int = 3) -> None:
        super().__init__(num_train_timesteps=num_train_timesteps, beta_start=0.001)
        self.init_noise_sigma = float(self.config["mark"])


class Named(Marked):
    @register_to_config
    def __init__(self, mark: int = 4, name: str = "a") -> None:
        super().__init__(mark=mark + 1)


class Passed(dpnb.DDIMScheduler):
    @register_to_config
    def __init__(self, mark: int = 3, **settings: Any) -> None:
        super().__init__(**settings)


class Steady(dpnb.SchedulerMixin, ConfigMixin):
    ignore_for_config: ClassVar[list[str]] = ["secret"]

    @register_to_config
    def __init__(
        self,
        pace: int = 1,
        secret: int = 2,
        ends: list[int] = [1, 3],  # noqa: B006 - what scripts write
        place: Path = Path("x/y"),
        **others: Any,
    ) -> None:
        self.others = others


def test_a_derived_scheduler_keeps_its_own_settings(tmp_path: Path) -> None:
    scheduler: Any = Marked(mark=5)
    assert scheduler.config.mark == scheduler.config["mark"] == 5
    assert scheduler.config.beta_start == 0.001
    assert scheduler.init_noise_sigma == 5.0
    scheduler.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "scheduler_config.json").read_text())["mark"] == 5
    again = Marked.from_pretrained(tmp_path)
    assert (again.config, type(again.config)) == (scheduler.config, type(scheduler.config))
    assert Marked.from_pretrained(tmp_path, mark=6).config.mark == 6
    assert dpnb.DDIMScheduler.from_pretrained(tmp_path).config.mark == 5


def test_each_of_several_constructors_declares() -> None:
    scheduler: Any = Named(name="b")
    assert (scheduler.config.name, scheduler.config.mark) == ("b", 5)
    assert scheduler.config.num_train_timesteps == 1000


def test_defaults_of_ones_own_are_not_given() -> None:
    """Another class then has its own default, as with settings of dpnb's."""
    assert "mark" not in Marked().config.given_settings
    assert Steady.from_config(Marked(mark=9).config).config.mark == 9
    assert "mark" not in Steady.from_config(Marked().config).config


def test_settings_that_a_constructor_does_not_take_are_kept() -> None:
    other = dpnb.DDIMScheduler(beta_start=0.002)
    assert Marked.from_config(other.config).config.beta_start == 0.002
    assert Passed.from_config(other.config).betas[0] == other.betas[0]
    built, unused = Marked.from_config({"mark": 2, "else": 1}, return_unused_kwargs=True)
    assert (built.config["else"], unused) == (1, {"else": 1})
    with pytest.raises(TypeError, match="unexpected keyword argument 'bogus'"):
        Marked(bogus=1)


def test_what_is_declared_is_what_the_class_names(tmp_path: Path) -> None:
    scheduler = Steady(more=1)
    assert scheduler.config == {"pace": 1, "ends": [1, 3], "place": Path("x/y")}
    assert scheduler.others == {"more": 1}
    assert '"place": "x/y"' in scheduler.to_json_string()
    noted = Steady(_name_or_path="there")
    assert noted.config._name_or_path == "there"
    assert noted.others == {}


def test_lists_of_settings_are_ones_own() -> None:
    scheduler = Steady()
    scheduler.config.ends.append(5)
    assert Steady().config.ends == [1, 3]


@pytest.mark.parametrize("name", ["extra", "given", "source"])
def test_a_setting_may_have_any_name(name: str) -> None:
    scheduler = Steady()
    scheduler.register_to_config(**{name: 5})
    assert getattr(scheduler.config, name) == scheduler.config[name] == 5


def test_a_scheduler_of_ones_own_is_loaded_as_any_other(tmp_path: Path) -> None:
    Steady(pace=3).save_pretrained(save_directory=tmp_path / "scheduler")
    assert Steady.from_pretrained(tmp_path, subfolder="scheduler").config.pace == 3
    assert Steady.from_pretrained(tmp_path, subfolder="scheduler", pace=9).config.pace == 9
    assert Steady.has_compatibles
    assert Steady().compatibles == [Steady]
    steady: Any = Steady(pace=2)
    with pytest.warns(FutureWarning, match=r"read it as config\.pace"):
        assert steady.pace == 2
    with pytest.raises(AttributeError, match="'Steady' object has no attribute 'beta_start'"):
        _ = steady.beta_start


def test_a_scheduler_takes_settings_that_it_does_not_know() -> None:
    scheduler: Any = dpnb.DDIMScheduler()
    scheduler.register_to_config(note=5, clip_sample=False)
    assert (scheduler.config.note, scheduler.config.clip_sample) == (5, False)
    assert dpnb.DDIMScheduler.from_config(scheduler.config).config["note"] == 5
    with pytest.raises(AttributeError, match="there is no setting nothing; there are"):
        _ = scheduler.config.nothing


@pytest.mark.parametrize("scheduler", [dpnb.DDIMScheduler(), Marked(), Steady()])
def test_settings_do_not_change(scheduler: Any) -> None:
    rule = "and they do not change; build another: from_config"
    with pytest.raises(FrozenInstanceError, match=rule):
        scheduler.config.prediction_type = "sample"
    with pytest.raises(FrozenInstanceError, match=rule):
        del scheduler.config.prediction_type
    with pytest.raises(TypeError, match=rule):
        scheduler.config["prediction_type"] = "sample"


def test_no_settings_and_no_file_are_sentences() -> None:
    nothing: Any = None
    for kind in (dpnb.DDIMScheduler, Steady):
        with pytest.raises(ValueError, match="was given NoneType in place of settings; pass"):
            kind.from_config(nothing)
    with pytest.raises(ValueError, match="ConfigMixin has no file of settings; give the class"):
        ConfigMixin.load_config("x")


def test_a_network_of_ones_own_keeps_lists(tmp_path: Path) -> None:
    class Layers(dpnb.ModelMixin, ConfigMixin):
        @register_to_config
        def __init__(self, widths: tuple[int, ...] = (2, 3)) -> None:
            super().__init__()
            self.layers = torch.nn.ModuleList(torch.nn.Linear(width, 1) for width in widths)

    Layers(widths=(4,)).save_pretrained(tmp_path)
    assert Layers.from_pretrained(tmp_path).config.widths == [4]
