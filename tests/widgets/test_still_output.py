"""Notebooks that run in a kernel of their own: what their cells hold in the end."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

from dpnb.widgets.panel import VIEW
from dpnb.widgets.run_panel import RunPanel
from dpnb.widgets.snapshot import WIDTH
from dpnb.widgets.still_output import StillOutput, is_hidden_by
from tests.source import ROOT
from tests.widgets.conftest import TIMEOUT

SHOW = """
import dpnb
pipe = dpnb.random_pipeline("tiny-sd")
pipe.set_progress_bar_config(disable=True)
panel = dpnb.RunPanel(pipe, dpnb.Request("a pear", steps=1))
panel
"""


def run(folder: Path, *cells: str, **variables: str) -> list[list[dict[str, Any]]]:
    """Run cells in a new kernel, and return what each shows."""
    notebook = nbformat.v4.new_notebook(  # type: ignore[no-untyped-call]
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells]  # type: ignore[no-untyped-call]
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    client = NotebookClient(notebook, timeout=TIMEOUT, resources={"metadata": {"path": folder}})
    client.execute(env=environment)
    return [[one["data"] for one in cell["outputs"] if "data" in one] for cell in notebook["cells"]]


class Shell:
    """What a kernel knows of the front end that it serves."""

    def __init__(self, **names: str) -> None:
        self.user_ns = names


@pytest.mark.parametrize(
    ("variable", "value", "is_hidden"),
    [
        ("KAGGLE_KERNEL_RUN_TYPE", "Interactive", False),
        ("KAGGLE_KERNEL_RUN_TYPE", "Batch", True),
        ("SERVER_SOFTWARE", "voila/0.5.13", False),
        ("SERVER_SOFTWARE", "jupyter/2", True),
    ],
)
def test_front_ends_are_known_by_what_they_set(
    variable: str, value: str, is_hidden: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    assert is_hidden_by(Shell()) == is_hidden
    assert not is_hidden_by(Shell(__vsc_ipynb_file__="board.ipynb"))


def test_outside_of_a_kernel_there_is_none(pipe: Any) -> None:
    panel = RunPanel(pipe)
    still = StillOutput(panel.session)
    assert not still.is_possible
    still.close()
    panel.close()


@pytest.mark.slow
def test_a_panel_leaves_its_last_state_in_the_cell_that_shows_it(tmp_path: Path) -> None:
    begun, drawn, switched, closed, again = run(
        tmp_path, SHOW, "panel.draw().wait()", "pipe.enable_vae_slicing()", "panel.close()", "panel"
    )
    view, still = begun
    assert VIEW in view
    assert "image/png" not in view
    picture = Image.open(io.BytesIO(base64.b64decode(still["image/png"])))
    assert picture.width > WIDTH
    assert picture.height > 300
    assert "a pear, seed 0, 1 step" in still["text/plain"]
    assert still["text/plain"].endswith("; VAE slicing.")
    assert [VIEW in data for data in again] == [False]
    assert (len(drawn), switched, closed) == (1, [], [])


@pytest.mark.slow
def test_where_it_would_be_seen_twice_a_panel_has_one_output(tmp_path: Path) -> None:
    begun, _, again = run(
        tmp_path, SHOW, "panel.draw().wait();", "panel", KAGGLE_KERNEL_RUN_TYPE="Interactive"
    )
    assert [sorted(data) for data in begun] == [[VIEW, "text/plain"]]
    assert [sorted(data) for data in again] == [[VIEW, "image/png", "text/plain"]]
