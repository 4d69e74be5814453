"""What pipelines change of a scheduler, and what they keep of their settings, as diffusers does."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

import pytest

import dpnb
from tests.reference.checkpoints import diffusers
from tests.reference.test_call_signatures import NAMES

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

SCHEDULERS: dict[str, dict[str, Any]] = {
    "DDIMScheduler": {"steps_offset": 0, "clip_sample": True},
    "PNDMScheduler": {"steps_offset": 0, "skip_prk_steps": False},
    "EulerDiscreteScheduler": {"steps_offset": 0},
}

KEPT = {("LatentConsistencyModelImg2ImgPipeline", "requires_safety_checker")}
"""Settings that are saved here alone, so that a loaded pipeline is as the saved one was."""


def build(library: ModuleType, name: str, **parts: Any) -> Any:
    """The pipeline `name`, which has no part but `parts`."""
    kind = getattr(library, name)
    taken = inspect.signature(getattr(diffusers, name).__init__).parameters
    asked = [n for n, one in taken.items() if n != "self" and one.default is one.empty]
    return kind(**{**dict.fromkeys(asked), **parts})


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith(("Stable", "Latent"))])
def test_settings_of_a_scheduler_are_corrected_in_the_same_pipelines(
    name: str, scheduler: str
) -> None:
    found = []
    for library in (diffusers, dpnb):
        made = getattr(library, scheduler)(**SCHEDULERS[scheduler])
        config = build(library, name, scheduler=made).scheduler.config
        found.append({setting: config[setting] for setting in SCHEDULERS[scheduler]})
    assert found[1] == found[0]


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith(("Stable", "Latent", "Flux"))])
def test_pipelines_keep_the_same_settings(name: str) -> None:
    theirs, ours = (
        {n: v for n, v in build(library, name).config.items() if not isinstance(v, (list, tuple))}
        for library in (diffusers, dpnb)
    )
    private = {n for n in theirs | ours if n.startswith("_")}
    kept = {setting for pipeline, setting in KEPT if pipeline == name}
    assert ours.keys() - private - kept == theirs.keys() - private
    assert all(ours[n] == theirs[n] for n in theirs.keys() - private)


def test_what_changes_the_picture_is_kept() -> None:
    name = "StableDiffusionXLInstructPix2PixPipeline"
    assert build(dpnb, name, is_cosxl_edit=True).config["is_cosxl_edit"] is True
