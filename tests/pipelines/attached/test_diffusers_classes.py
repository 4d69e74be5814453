"""Classes of diffusers are found by the names of an index, and nothing else is imported."""

from __future__ import annotations

import subprocess
import sys

import diffusers
import pytest

from dpnb.errors import CheckpointError, ComponentError
from dpnb.pipelines.attached.diffusers_classes import find_diffusers_class


@pytest.mark.parametrize(
    ("library", "name"),
    [
        ("diffusers", "ZImagePipeline"),
        ("diffusers", "DEISMultistepScheduler"),
        ("stable_diffusion", "StableDiffusionSafetyChecker"),
        ("stable_audio", "StableAudioProjectionModel"),
        ("wuerstchen", "PaellaVQModel"),
    ],
)
def test_a_class_is_found(library: str, name: str) -> None:
    found = find_diffusers_class(library, name)
    assert found is not None
    assert (found.__name__, found.__module__.split(".")[0]) == (name, "diffusers")


@pytest.mark.parametrize("library", ["os", "pipeline_utils", "..models", "", "transformers"])
def test_what_is_no_folder_of_a_pipeline_is_not_imported(library: str) -> None:
    assert find_diffusers_class(library, "system") is None


@pytest.mark.parametrize("name", ["NoSuchPipeline", "__version__", "logging", "torch"])
def test_what_is_no_class_of_diffusers_is_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match=rf"diffusers {diffusers.__version__} has no {name};"):
        find_diffusers_class("diffusers", name)


def test_without_diffusers_the_sentence_says_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ComponentError, match=r"ZImagePipeline .*pip install diffusers\."):
        find_diffusers_class("diffusers", "ZImagePipeline")


def test_nothing_imports_diffusers_until_it_is_asked_for() -> None:
    code = (
        "import dpnb.planning.planner, dpnb.pipelines.attached.diffusers_classes, sys;"
        "assert 'diffusers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
