from __future__ import annotations

import json
from pathlib import Path

import pytest

from dpnb import lab
from dpnb.lab import LabError, lab_command, notebooks, page, voila_command, write_page


def test_the_page_shows_the_dashboard_of_the_model(tmp_path: Path) -> None:
    file = write_page(tmp_path, "a/model")
    [cell] = json.loads(file.read_text())["cells"]
    source = "".join(cell["source"])
    assert "from_pretrained('a/model')" in source
    assert source.endswith("dpnb.dashboard(pipe)")
    compile(source, "page", "exec")
    assert write_page(tmp_path, "another") == file
    assert json.loads(file.read_text()) == page("a/model")


def test_notebooks_beside_the_source_are_opened_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "pyproject.toml").touch()
    found = notebooks(tmp_path / "mine", "a/model", tmp_path / "dpnb")
    assert found == tmp_path / "notebooks"
    assert not (tmp_path / "mine").exists()


def test_notebooks_of_an_installed_package_are_copied_once(tmp_path: Path) -> None:
    kept = tmp_path / "dpnb" / "notebooks"
    kept.mkdir(parents=True)
    (kept / "01.ipynb").write_text("new")
    (kept / "02.ipynb").write_text("new")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "01.ipynb").write_text("changed by me")
    assert notebooks(mine, "a/model", tmp_path / "dpnb") == mine
    assert [file.read_text() for file in sorted(mine.iterdir())] == ["changed by me", "new"]


def test_without_any_notebook_there_is_one_with_the_dashboard(tmp_path: Path) -> None:
    [file] = notebooks(tmp_path / "mine", "a/model", tmp_path / "dpnb").iterdir()
    assert json.loads(file.read_text()) == page("a/model")


def test_both_programs_listen_on_this_machine_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab, "_need", lambda *_: None)
    command = lab_command(tmp_path, 8123, browser=False)
    assert {"jupyterlab", "--ip=127.0.0.1", "--port=8123", "--no-browser"} <= set(command)
    command = voila_command(tmp_path / "x.ipynb", 8123, browser=True, theme="dark")
    assert {"voila", "--Voila.ip=127.0.0.1", "--port=8123", "--theme=dark"} <= set(command)
    assert "--no-browser" not in command


def test_what_is_not_installed_is_named_with_its_remedy() -> None:
    with pytest.raises(LabError, match=r"Nothing is not installed; run: pip install .dpnb\[lab\]"):
        lab._need("no_such_module", "Nothing")
