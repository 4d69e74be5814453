"""The house stands as its picture shows: who may import whom, and how large a room may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "dpnb"
FILES = sorted(PACKAGE.rglob("*.py"))

GROUND = {
    "atomic",
    "devices",
    "errors",
    "files",
    "generators",
    "numbers",
    "processes",
    "units",
    "validation",
}

MAY_IMPORT = {
    "errors": set(),
    "files": set(),
    "validation": set(),
    "units": set(),
    "devices": set(),
    "generators": set(),
    "numbers": set(),
    "processes": set(),
    "atomic": set(),
    "prompt_file": {"pipelines"},
    "nn": set(),
    "loading": {"emoji", "nn"},
    "metering": set(),
    "planning": {"pipelines", "strategies", "metering", "models", "schedulers", "loading", "nn"},
    "bench": {"planning", "pipelines", "strategies", "metering"},
    "models": {"nn", "loading", "metering"},
    "schedulers": {"loading"},
    "strategies": {"models", "nn"},
    "pipelines": {"strategies", "models", "schedulers", "loading", "nn", "metering"},
    "emoji": {"models", "schedulers", "pipelines", "loading", "nn"},
    "widgets": {"pipelines", "planning", "strategies", "schedulers", "metering"},
    "lab": set(),
    "terminal": {"pipelines"},
    "cli": {"pipelines", "emoji", "lab", "planning", "bench", "prompt_file", "terminal"},
    "__main__": {"cli"},
    "__init__": {
        "loading",
        "models",
        "schedulers",
        "strategies",
        "pipelines",
        "metering",
        "widgets",
        "planning",
        "bench",
        "prompt_file",
        "lab",
    },
}

WHEN_USED = {"models/switches.py": {"strategies"}, "models/copying.py": {"strategies"}}
"""What a file may import within its functions alone: a network's switches ask for the strategies
that are made for it."""

HOMES = {
    "huggingface_hub": {"loading"},
    "ipywidgets": {"widgets"},
    "xformers": {"nn"},
    "torchao": {"loading"},
    "bitsandbytes": {"loading"},
    "typer": {"cli"},
    "emoji": {"emoji"},
}


def layer(path: Path) -> str:
    """The folder of the package that `path` is in, or its name at the top."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else path.stem


def imports(path: Path) -> Iterator[str]:
    """The full name of every module that a file imports, wherever it does so."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_at_once(path: Path) -> Iterator[str]:
    """The full name of every module that is imported as soon as a file is."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    here = layer(path)
    when_used = WHEN_USED.get(path.relative_to(PACKAGE).as_posix(), set())
    allowed = MAY_IMPORT[here] | GROUND | {here, ""}
    for name in imports(path):
        root, _, rest = name.partition(".")
        if root == "dpnb":
            assert rest.partition(".")[0] in allowed | when_used, f"{path} imports {name}"
        if root in HOMES and here != root:
            assert here in HOMES[root], f"{path} imports {name}"


@pytest.mark.parametrize("name", WHEN_USED)
def test_what_is_imported_when_used_is_not_imported_before(name: str) -> None:
    at_once = set(imports_at_once(PACKAGE / name))
    for other in WHEN_USED[name]:
        assert not [module for module in at_once if module.startswith(f"dpnb.{other}")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_imports_diffusers(path: Path) -> None:
    assert not [name for name in imports(path) if name.partition(".")[0] == "diffusers"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
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


def test_every_public_name_is_there() -> None:
    import dpnb

    for name in dpnb.__all__:
        assert getattr(dpnb, name) is not None
    with pytest.raises(AttributeError, match="dpnb has no Nothing"):
        _ = dpnb.Nothing
