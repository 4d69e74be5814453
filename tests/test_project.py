"""The files around the package agree with one another."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def versions(requirements: list[str]) -> dict[str, str]:
    """The distributions that requirement lines name, and which of their versions will do."""
    found = (re.match(r"([\w.-]+)([^;]*)", line) for line in requirements)
    return {m.group(1).lower().replace("_", "-"): m.group(2).strip() for m in found if m}


def listed(text: str, heading: str) -> list[str]:
    """The strings of the TOML array `heading`."""
    match = re.search(rf"^{heading} = \[(.*?)\]", text, re.MULTILINE | re.DOTALL)
    assert match is not None
    return re.findall(r'"([^"]+)"', match.group(1))


def test_the_conda_environment_agrees_with_the_project() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    environment = (ROOT / "environment.yml").read_text().split("- pip:\n")[1]
    conda = versions([line.strip().removeprefix("- ") for line in environment.splitlines()])
    wanted = versions(listed(project, "dependencies"))
    for extra in ("lab", "xformers"):
        wanted |= versions(listed(project, extra))
    assert wanted.items() <= conda.items()
    assert conda.items() - wanted.items() <= versions(listed(project, "test")).items()


def test_the_readme_promises_what_the_project_does() -> None:
    project, readme = (ROOT / "pyproject.toml").read_text(), (ROOT / "README.md").read_text()
    python = re.search(r'requires-python = ">=([\d.]+)"', project)
    assert python is not None
    torch = versions(listed(project, "dependencies"))["torch"].removeprefix(">=")
    assert f"dpnb runs on Python {python.group(1)} and torch {torch}, and on later ones" in readme


def test_what_is_tested_is_what_the_extras_promise() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    tested = versions(listed(project, "test"))
    for extra in ("lab", "quality", "quantization"):
        assert versions(listed(project, extra)).keys() <= tested.keys()


def test_every_promise_is_a_lowest_version() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    for heading in ("dependencies", "lab", "train", "quality", "quantization", "xformers"):
        for name, version in versions(listed(project, heading)).items():
            assert re.fullmatch(r">=[\d.]+", version), name


def test_the_oldest_versions_are_tried_before_a_change_lands() -> None:
    assert ".ci/oldest" in (ROOT / ".ci" / "run").read_text()
    oldest = (ROOT / ".ci" / "oldest").read_text()
    assert "--resolution lowest-direct" in oldest
    assert '".[lab,quantization]"' in oldest


def test_the_readme_has_both_commands_near_its_top() -> None:
    top = (ROOT / "README.md").read_text().splitlines()[:40]
    assert "pip install -e . && dpnb demo" in top
    assert 'pip install -e ".[test]" && python -m tests.browser.install && pytest' in top


def test_every_picture_of_the_readme_is_there() -> None:
    readme = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", readme):
        assert (ROOT / target).exists(), target


def test_the_version_is_one() -> None:
    import dpnb

    assert f'version = "{dpnb.__version__}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.slow
def test_the_command_line_is_installed() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "dpnb", "--help"], capture_output=True, text=True, check=True
    )
    assert "draw" in result.stdout
    assert "demo" in result.stdout
