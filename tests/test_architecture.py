"""The house stands as its picture shows: who may import whom, and how large a file may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.source import FILES, PACKAGE, imported_names, syntax_tree, within

GROUND = {
    "atomic",
    "devices",
    "errors",
    "files",
    "garbage",
    "generators",
    "numbers",
    "output",
    "processes",
    "run_listener",
    "silence",
    "stages",
    "switchboard",
    "tables",
    "units",
    "validation",
}

MAY_IMPORT = {
    "errors": set(),
    "files": set(),
    "validation": set(),
    "tables": set(),
    "units": set(),
    "devices": set(),
    "garbage": set(),
    "generators": set(),
    "numbers": set(),
    "output": set(),
    "processes": set(),
    "run_listener": set(),
    "silence": set(),
    "stages": set(),
    "switchboard": set(),
    "atomic": set(),
    "prompt_file": {"pipelines"},
    "nn": set(),
    "loading": {"nn"},
    "metering": set(),
    "fidelity": set(),
    "planning": {
        "pipelines",
        "strategies",
        "metering",
        "fidelity",
        "models",
        "schedulers",
        "loading",
        "nn",
    },
    "bench": {"planning", "pipelines", "strategies", "metering", "fidelity"},
    "models": {"nn", "loading", "metering", "module_paths"},
    "schedulers": {"loading", "module_paths"},
    "strategies": {"models", "loading", "nn"},
    "pipelines": {
        "strategies",
        "models",
        "schedulers",
        "loading",
        "nn",
        "metering",
        "module_paths",
    },
    "emoji": {"models", "schedulers", "pipelines", "loading", "nn", "fidelity", "terminal"},
    "widgets": {"pipelines", "planning", "strategies", "metering", "loading", "fidelity"},
    "absent_names": set(),
    "module_paths": {"absent_names"},
    "callbacks": {"pipelines", "module_paths"},
    "configuration_utils": {"pipelines", "module_paths"},
    "optimization": {"module_paths"},
    "image_processor": {"pipelines", "module_paths"},
    "ema": set(),
    "training_utils": {"ema", "module_paths"},
    "utils": {"pipelines", "module_paths"},
    "lab": set(),
    "terminal": set(),
    "cli": {"pipelines", "emoji", "lab", "planning", "bench", "prompt_file", "terminal"},
    "__main__": {"cli"},
    "names": {"loading"},
    "__init__": {"names", "absent_names", "module_paths"},
}

WINGS = {
    "models/tiling": {"metering", "nn"},
    "loading/hub": {"loading.checkpoint_paths", "loading.filenames"},
    "loading/weights": {
        "loading.checkpoint_paths",
        "loading.checkpoint_files",
        "loading.filenames",
        "loading.hub",
    },
    "loading/adapters": {
        "nn",
        "loading.checkpoint_paths",
        "loading.checkpoint_files",
        "loading.hub",
        "loading.weights",
    },
    "loading/components": {
        "loading.checkpoint_files",
        "loading.checkpoint_paths",
        "loading.filenames",
        "loading.hub",
        "loading.model_index",
        "loading.quantization",
        "loading.settings_files",
        "loading.weights",
    },
    "loading/saving": {"loading.filenames", "loading.model_index", "loading.weights"},
    "strategies/offload": {
        "nn",
        "strategies.fair_lock",
        "strategies.undo",
    },
    "strategies/reuse": {
        "models",
        "nn",
        "strategies.conditioning",
        "strategies.offload.calls",
        "strategies.undo",
    },
    "pipelines/foreign": {
        "models",
        "schedulers.scheduler",
        "schedulers.storage",
        "loading",
        "nn",
        "pipelines.denoise",
        "pipelines.pictures",
    },
    "pipelines/attached": {
        "strategies",
        "schedulers.predictions",
        "loading",
        "nn",
        "pipelines.call_arguments",
        "pipelines.explorable",
        "pipelines.foreign",
        "pipelines.listeners",
        "pipelines.pictures",
        "pipelines.pipeline",
        "pipelines.text_to_image",
    },
    "pipelines/storage": {
        "strategies.device_map",
        "models",
        "schedulers",
        "loading",
        "nn",
        "pipelines.foreign",
        "pipelines.protocols",
        "pipelines.schema",
    },
    "pipelines/pictures": {"loading"},
    "pipelines/settings": {
        "loading.hub",
        "nn.quantized",
        "pipelines.attached.attach",
        "pipelines.explorable",
        "schedulers",
        "strategies",
    },
    "pipelines/shapes": {"models", "loading", "pipelines.text_to_image"},
}
"""What the folder of a folder may import beside the ground floor and itself."""

HOMES = {
    "huggingface_hub": {"loading"},
    "markdown_it": {"loading"},
    "ipywidgets": {"widgets"},
    "anywidget": {"widgets"},
    "xformers": {"nn"},
    "peft": {"models", "emoji"},
    "torchao": {"loading"},
    "bitsandbytes": {"loading"},
    "typer": {"cli"},
    "flip_evaluator": {"fidelity"},
    "skimage": {"fidelity"},
    "emoji": {"emoji"},
}


def layer(path: Path) -> str:
    """The folder of the package that `path` is in, or its name at the top."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else path.stem


def imported_from_package(path: Path) -> set[str]:
    """What a file imports from the package, without the package's name."""
    names = (name.partition(".") for name in imported_names(path))
    return {rest for root, _, rest in names if root == "dpnb"} - {""}


def is_of(name: str, owners: set[str]) -> bool:
    """Whether a module or a name in it is, or is in, one of `owners`."""
    return any(f"{name}.".startswith(f"{owner}.") for owner in owners)


def check_imports(path: Path, allowed: set[str]) -> None:
    """A file imports from the package what is allowed, and the ground floor."""
    allowed = allowed | GROUND
    foreign = {name for name in imported_from_package(path) if not is_of(name, allowed)}
    assert not foreign, f"{path} imports {', '.join(sorted(foreign))}"


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_run_one_way(room: str) -> None:
    for path in FILES:
        if layer(path) == room:
            check_imports(path, MAY_IMPORT[room] | {room})


def test_every_file_is_in_a_room() -> None:
    assert {layer(path) for path in FILES} == {*MAY_IMPORT}


@pytest.mark.parametrize("wing", WINGS)
def test_a_wing_knows_only_what_it_needs(wing: str) -> None:
    allowed = WINGS[wing] | {wing.replace("/", ".")}
    for path in (PACKAGE / wing).glob("*.py"):
        check_imports(path, allowed)


def test_every_folder_of_a_folder_is_a_wing() -> None:
    assert {within(path.parent) for path in FILES if within(path).count("/") > 1} == {*WINGS}


@pytest.mark.parametrize("place", [*MAY_IMPORT, *WINGS])
def test_nothing_is_allowed_that_nobody_does(place: str) -> None:
    paths = [path for path in FILES if place in (layer(path), within(path.parent))]
    names = {name for path in paths for name in imported_from_package(path)}
    allowed = MAY_IMPORT.get(place, set()) | WINGS.get(place, set())
    assert {other for other in allowed if not any(is_of(name, {other}) for name in names)} == set()


def test_optional_packages_stay_at_home() -> None:
    for path in FILES:
        here = layer(path)
        for root in {name.partition(".")[0] for name in imported_names(path)} - {here}:
            assert here in HOMES.get(root, {here}), f"{path} imports {root}"


def test_one_function_imports_diffusers() -> None:
    door = PACKAGE / "pipelines" / "attached" / "diffusers_classes.py"
    for path in FILES:
        imported = {name.partition(".")[0] for name in imported_names(path)}
        assert ("diffusers" in imported) == (path == door), path
    assert [
        node.name
        for node in syntax_tree(door).body
        if isinstance(node, ast.FunctionDef)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Import)
    ] == ["_import_diffusers"]


def test_files_and_functions_stay_small() -> None:
    for path in FILES:
        assert len(path.read_text().splitlines()) <= 400, path
        for node in ast.walk(syntax_tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 60, f"{path}: {node.name}"


def modules_after(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after `statement`."""
    code = f"{statement}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = {"torch", "transformers", "numpy", "huggingface_hub", "accelerate", "PIL", "matplotlib"}
    heavy |= {"ipywidgets", "traitlets"}
    assert not modules_after("import dpnb") & heavy


def test_importing_a_pipeline_leaves_text_models_and_hub_alone() -> None:
    heavy = {"transformers", "huggingface_hub", "accelerate", "matplotlib", "ipywidgets", "scipy"}
    assert not modules_after("from dpnb import StableDiffusionPipeline") & heavy
