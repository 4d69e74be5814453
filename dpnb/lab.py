"""Opening notebooks, or the dashboard as a page, in a browser on this machine."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dpnb.atomic import write_text
from dpnb.errors import DpnbError

PACKAGE = Path(__file__).parent
COPIES = "dpnb-notebooks"
PAGE = "dashboard.ipynb"


class LabError(DpnbError, RuntimeError):
    """A program that is needed is not there; the message says how to get it."""


def page(model: str) -> dict[str, Any]:
    """A notebook that shows the dashboard of a model: a folder, a repository, or a name inside."""
    lines = [
        "import dpnb\n",
        "\n",
        f"pipe = dpnb.DiffusionPipeline.from_pretrained({model!r})\n",
        "pipe.set_progress_bar_config(disable=True)\n",
        "dpnb.dashboard(pipe)",
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    cell: dict[str, Any] = {
        "cell_type": "code",
        "id": "dashboard",
        "metadata": {},
        "execution_count": None,
        "outputs": [],
        "source": lines,
    }
    return {
        "cells": [cell],
        "metadata": {"kernelspec": kernel, "title": "dpnb"},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def write_page(folder: Path, model: str) -> Path:
    """Write that notebook into a folder, unless there is one."""
    file = folder / PAGE
    if not file.exists():
        write_text(file, json.dumps(page(model), indent=1) + "\n")
    return file


def notebooks(folder: Path, model: str, package: Path = PACKAGE) -> Path:
    """The folder of the notebooks: that of the source, or copies that are one's own.

    Args:
        folder: where copies go; what is there already stays as it is.
        model: for a notebook with the dashboard, where no notebooks came with the package.
        package: the folder of dpnb.
    """
    beside = package.parent / "notebooks"
    if (package.parent / "pyproject.toml").is_file() and beside.is_dir():
        return beside
    for notebook in sorted((package / "notebooks").glob("*.ipynb")):
        target = folder / notebook.name
        if not target.exists():
            write_text(target, notebook.read_text(encoding="utf-8"))
    if not list(folder.glob("*.ipynb")):
        write_page(folder, model)
    return folder


def lab_command(folder: Path, port: int, browser: bool) -> list[str]:
    """What opens JupyterLab on a folder.

    Raises:
        LabError: JupyterLab is not installed.
    """
    _need("jupyterlab", "JupyterLab")
    return [
        *(sys.executable, "-m", "jupyterlab", str(folder)),
        *("--ip=127.0.0.1", f"--port={port}"),
        *(() if browser else ("--no-browser",)),
    ]


def voila_command(file: Path, port: int, browser: bool, theme: str) -> list[str]:
    """What serves a notebook as a page, without its code.

    Raises:
        LabError: Voila is not installed.
    """
    _need("voila", "Voila")
    return [
        *(sys.executable, "-m", "voila", str(file)),
        *("--Voila.ip=127.0.0.1", f"--port={port}", f"--theme={theme}"),
        *(() if browser else ("--no-browser",)),
    ]


def open_lab(folder: Path, model: str, port: int, browser: bool) -> int:
    """Run JupyterLab on the notebooks until it is ended; its exit status."""
    return _run(lab_command(notebooks(folder, model), port, browser))


def open_page(model: str, port: int, browser: bool, theme: str) -> int:
    """Serve the dashboard alone until that is ended; its exit status."""
    with TemporaryDirectory(prefix="dpnb-") as folder:
        return _run(voila_command(write_page(Path(folder), model), port, browser, theme))


def _run(command: list[str]) -> int:
    try:
        return subprocess.run(command, check=False).returncode
    except KeyboardInterrupt:
        return 0


def _need(module: str, name: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise LabError(f'{name} is not installed; run: pip install "dpnb[lab]".')
