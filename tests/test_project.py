"""The files around the package agree with one another."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def names(requirements: list[str]) -> set[str]:
    """The distributions that requirement lines name."""
    found = (re.match(r"[A-Za-z0-9_.-]+", line) for line in requirements)
    return {match.group().lower().replace("_", "-") for match in found if match}


def listed(text: str, heading: str) -> list[str]:
    """The strings of the TOML array `heading`."""
    match = re.search(rf"^{heading} = \[(.*?)\]", text, re.MULTILINE | re.DOTALL)
    assert match is not None
    return re.findall(r'"([^"]+)"', match.group(1))


def test_the_conda_environment_agrees_with_the_project() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    environment = (ROOT / "environment.yml").read_text().split("- pip:\n")[1]
    conda = names([line.strip().removeprefix("- ") for line in environment.splitlines()])
    wanted = names(listed(project, "dependencies"))
    for extra in ("lab", "xformers"):
        wanted |= names(listed(project, extra))
    assert wanted <= conda
    assert conda - wanted <= names(listed(project, "test"))


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


def test_the_command_line_is_installed() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "dpnb", "--help"], capture_output=True, text=True, check=True
    )
    assert "draw" in result.stdout
    assert "demo" in result.stdout
