"""Every pipeline class of diffusers has a small pipeline, or a reason why it has none."""

from __future__ import annotations

import importlib
import pkgutil
import re
import warnings
from pathlib import Path

import pytest

from tests.reference import foreign
from tests.reference.census import FILE, GOOD, all_cases, read_table
from tests.reference.checkpoints import diffusers

README = Path(__file__).parents[2] / "README.md"

ABSTRACT = {
    "DiffusionPipeline": "others derive from it",
    "ModularPipeline": "others derive from it",
    "AutoPipelineForImage2Image": "loads a pipeline of another class",
    "AutoPipelineForInpainting": "loads a pipeline of another class",
    "AutoPipelineForText2Audio": "loads a pipeline of another class",
    "AutoPipelineForText2Image": "loads a pipeline of another class",
}

TRIED = {case.name.partition(" ")[0] for case in all_cases()}


def reasons() -> dict[str, str]:
    """Why there is no case, by class or by class and what is special."""
    modules = [
        importlib.import_module(f"{foreign.__name__}.{module.name}")
        for module in pkgutil.iter_modules(foreign.__path__)
    ]
    found = [vars(module).get("NOT_BUILT", {}) for module in modules]
    return {name: reason for one in found for name, reason in one.items()}


@pytest.fixture(scope="module")
def classes() -> dict[str, type]:
    """By name, those that draw; others have no `__call__` of their own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {name: getattr(diffusers, name) for name in dir(diffusers) if "Pipeline" in name}
    return {
        name: kind
        for name, kind in found.items()
        if isinstance(kind, type) and not name.endswith(("Output", "Blocks", "Config"))
    }


def modular(classes: dict[str, type]) -> set[str]:
    return {name for name, kind in classes.items() if issubclass(kind, diffusers.ModularPipeline)}


def test_every_class_has_a_case_or_a_reason(classes: dict[str, type]) -> None:
    known = TRIED | reasons().keys() | ABSTRACT.keys() | modular(classes)
    assert classes.keys() - known == set()


def test_what_has_a_case_has_no_reason_and_every_reason_says_something(
    classes: dict[str, type],
) -> None:
    assert reasons().keys() & TRIED == set()
    assert {name.partition(" ")[0] for name in reasons()} <= classes.keys()
    assert [name for name, reason in reasons().items() if "not tried" in reason] == []


def test_the_readme_has_the_numbers_of_the_table(classes: dict[str, type]) -> None:
    told = " ".join(README.read_text(encoding="utf-8").split())
    concrete = classes.keys() - ABSTRACT.keys()
    apart = modular(classes) & concrete
    assert (
        f"{len(TRIED)} of diffusers' {len(concrete - apart)} pipeline classes were tried, in "
        f"{len(list(all_cases()))} small pipelines" in told
    )
    assert f"{len(apart)} modular ones" in told
    ran = [row for row in read_table(FILE.read_text(encoding="utf-8")) if row.attached]
    assert f"| | of {len(ran)} that can be attached |" in told
    rows = told.partition("that can be attached |")[2]
    numbers = [int(number) for number in re.findall(r"\| (\d+) \|", rows)]
    assert numbers[:4] == [
        sum(row.attached == GOOD for row in ran),
        sum(row.streamed == GOOD for row in ran),
        sum(row.detached == GOOD for row in ran),
        sum(row.is_predicted for row in ran),
    ]
