"""README's map is the tree, and what it says of imports is what is proved."""

from __future__ import annotations

import re

from tests.source import FILES, PACKAGE, ROOT, within
from tests.test_architecture import GROUND, MAY_IMPORT

README = (ROOT / "README.md").read_text()


def section() -> str:
    """What README says about how the package is built."""
    return README.split("## How it is built\n")[1].split("\n## ")[0]


def mapped() -> list[str]:
    """The folders and files of the map, as paths in the package, from top to bottom."""
    places: list[str] = []
    for inner, name in re.findall(r"^(│   )?[├└]── ([\w.]+/?) +\w", section(), re.MULTILINE):
        room = next((place for place in reversed(places) if place.count("/") == 1), "")
        places.append(f"{room if inner else ''}{name}")
    return places


def test_the_map_has_every_folder_and_every_file_at_the_top() -> None:
    folders = {f"{within(path.parent)}/" for path in FILES if path.parent != PACKAGE}
    files = {path.name for path in PACKAGE.glob("*.py") if not path.name.startswith("__")}
    assert len(mapped()) == section().count("── ")
    assert set(mapped()) == folders | files


def test_the_ground_floor_is_at_its_end() -> None:
    assert mapped()[-len(GROUND) :] == sorted(f"{name}.py" for name in GROUND)
    assert not any(MAY_IMPORT[name] for name in GROUND)


def test_imports_run_the_way_that_it_says() -> None:
    told = re.findall(r"`([^`]* → [^`]*)`", " ".join(section().split()))[0]
    tiers = [tier.split(", ") for tier in told.split(" → ")]
    assert {name for tier in tiers for name in tier} == {
        "cli",
        *(place.rstrip("/") for place in mapped() if place.endswith("/") and place.count("/") == 1),
    }
    for number, tier in enumerate(tiers):
        above = {name for higher in tiers[:number] for name in higher}
        for name in tier:
            assert not MAY_IMPORT[name] & above, name
            assert not any(name in MAY_IMPORT[other] for other in MAY_IMPORT[name] & {*tier}), name
