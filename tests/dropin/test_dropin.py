"""Every script gives what diffusers gives, or stands in a list with its reason."""

from __future__ import annotations

from collections.abc import Iterator
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


@pytest.mark.parametrize(
    "script", [s for s in SCRIPTS if s.name not in REASONS], ids=lambda script: script.name
)
def test_a_script_runs_with_its_import_changed(script: Script, places: dict[str, Any]) -> None:
    theirs = script.run("diffusers", places)
    assert find_difference(theirs, script.run("dpnb", places)) is None


def test_reasons_are_of_scripts_and_few() -> None:
    assert REASONS.keys() <= {script.name for script in SCRIPTS}
    assert len(REASONS) <= 0.02 * len(SCRIPTS)
