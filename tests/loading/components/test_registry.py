from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
import torch

from dpnb.errors import CheckpointError, ForeignCodeError
from dpnb.loading.components.registry import OURS, PIPELINE_PARTS, library_of, resolve

pytestmark = pytest.mark.exhaustive


@pytest.mark.parametrize("library", ["diffusers", "dpnb"])
@pytest.mark.parametrize("class_name", sorted(OURS))
def test_every_name_in_the_table_is_a_class_of_ours(library: str, class_name: str) -> None:
    found = resolve(library, class_name)
    assert found.__name__ == class_name
    assert found.__module__.startswith("dpnb.")
    assert library_of(found) == ("diffusers", class_name)


@pytest.mark.parametrize(("library", "class_name"), sorted(PIPELINE_PARTS))
def test_parts_filed_under_a_pipeline_are_ours_and_go_back_there(
    library: str, class_name: str
) -> None:
    found = resolve(library, class_name)
    assert found.__module__.startswith("dpnb.")
    assert library_of(found) == (library, class_name)


@pytest.mark.parametrize(
    "class_name",
    ["CLIPTextModel", "CLIPTextModelWithProjection", "T5EncoderModel", "CLIPTokenizer"],
)
def test_models_and_tokenizers_of_transformers_are_found(class_name: str) -> None:
    found = resolve("transformers", class_name)
    assert found.__name__ == class_name
    assert library_of(found) == ("transformers", class_name)


@pytest.mark.parametrize(
    ("old", "today"),
    [
        ("CLIPFeatureExtractor", "CLIPImageProcessor"),
        ("CLIPTokenizerFast", "CLIPTokenizer"),
        ("T5TokenizerFast", "T5Tokenizer"),
    ],
)
def test_names_that_transformers_gave_up_are_understood(old: str, today: str) -> None:
    assert resolve("transformers", old) is resolve("transformers", today)
    assert library_of(resolve("transformers", old)) == ("transformers", today)


@pytest.mark.parametrize("library", ["os", "subprocess", "my_unet", "__main__", "", "dpnb.cli"])
def test_other_libraries_are_refused(library: str) -> None:
    with pytest.raises(ForeignCodeError, match="no code is imported because a file names it"):
        resolve(library, "system")


def test_nothing_is_imported_because_a_file_names_it() -> None:
    code = (
        "import sys\n"
        "from dpnb.loading.components.registry import resolve\n"
        "for name in ('antigravity', 'this', 'dpnb.cli'):\n"
        "    try: resolve(name, 'A')\n"
        "    except ValueError: pass\n"
        "assert not {'antigravity', 'this', 'dpnb.cli', 'transformers'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["pipeline", "set_seed", "Trainer", "models", "logging", "torch"])
def test_what_transformers_cannot_load_is_refused(name: str) -> None:
    with pytest.raises((ForeignCodeError, CheckpointError), match=r"pass (that|it)"):
        resolve("transformers", name)


def test_an_unknown_class_names_those_close_to_it() -> None:
    with pytest.raises(CheckpointError, match=r"no DDIMSchedular; the closest names are DDIMSche"):
        resolve("diffusers", "DDIMSchedular")
    with pytest.raises(CheckpointError, match=r"has no CLIPTextModl; the closest names are CLIPT"):
        resolve("transformers", "CLIPTextModl")
    with pytest.raises(CheckpointError, match="no name is close to it"):
        resolve("diffusers", "zzzzzzzz")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_instances_and_compiled_models_go_by_their_class() -> None:
    class Mine(torch.nn.Linear):
        pass

    assert library_of(Mine(1, 1)) == (__name__, "Mine")
    assert library_of(torch.compile(Mine(1, 1))) == (__name__, "Mine")


def test_diffusers_own_objects_are_filed_as_ours_are() -> None:
    schedulers = importlib.import_module("diffusers.schedulers")
    checker = importlib.import_module("diffusers.pipelines.stable_diffusion.safety_checker")
    assert library_of(schedulers.DDIMScheduler()) == ("diffusers", "DDIMScheduler")
    assert library_of(checker.StableDiffusionSafetyChecker) == (
        "stable_diffusion",
        "StableDiffusionSafetyChecker",
    )
