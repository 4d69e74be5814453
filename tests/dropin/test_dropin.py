"""Every script gives what diffusers gives, or stands in a list with its reason."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.dropin.collection import REASONS, collect_scripts
from tests.dropin.places import open_places
from tests.dropin.script import Script, find_difference

SCRIPTS = collect_scripts()


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with open_places(tmp_path_factory.mktemp("places")) as names:
        yield names


@pytest.fixture(autouse=True)
def what_is_said() -> Iterator[None]:
    """Scripts may ask for more or less of it."""
    loggers = [logging.getLogger(name) for name in ("dpnb", "diffusers")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.mark.exhaustive(fast=60)
@pytest.mark.parametrize(
    "script", [s for s in SCRIPTS if s.name not in REASONS], ids=lambda script: script.name
)
def test_a_script_runs_with_its_import_changed(script: Script, places: dict[str, Any]) -> None:
    theirs = script.run("diffusers", places)
    assert find_difference(theirs, script.run("dpnb", places)) is None


def test_reasons_are_of_scripts_and_few() -> None:
    assert REASONS.keys() <= {script.name for script in SCRIPTS}
    assert len(REASONS) <= 0.02 * len(SCRIPTS)


def test_the_page_says_how_many() -> None:
    same, all_ = len(SCRIPTS) - len(REASONS), len(SCRIPTS)
    page = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert page.count(f"{same} of {all_}") == 2
    assert len({script.name for script in SCRIPTS}) == all_
