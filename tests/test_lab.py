from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from dpnb import lab
from dpnb.lab import (
    COPIES,
    LAST_PORT,
    TRIED_PORTS,
    LabError,
    free_port,
    lab_command,
    make_page,
    open_lab,
    page_address,
    prepare_notebooks,
    voila_command,
    write_page,
    write_settings,
)


def test_the_page_shows_the_dashboard_of_the_model(tmp_path: Path) -> None:
    file = write_page(tmp_path, "a/model")
    [cell] = json.loads(file.read_text())["cells"]
    source = "".join(cell["source"])
    assert "from_pretrained('a/model')" in source
    assert source.endswith("dpnb.dashboard(pipe)")
    compile(source, "page", "exec")
    assert write_page(tmp_path, "another") == file
    assert json.loads(file.read_text()) == make_page("a/model")


def test_notebooks_beside_the_source_are_opened_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "pyproject.toml").touch()
    found = prepare_notebooks(tmp_path / "mine", "a/model", tmp_path / "dpnb")
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
    assert prepare_notebooks(mine, "a/model", tmp_path / "dpnb") == mine
    assert [file.read_text() for file in sorted(mine.iterdir())] == ["changed by me", "new"]


def test_without_any_notebook_there_is_one_with_the_dashboard(tmp_path: Path) -> None:
    [file] = prepare_notebooks(tmp_path / "mine", "a/model", tmp_path / "dpnb").iterdir()
    assert json.loads(file.read_text()) == make_page("a/model")


def test_jupyterlab_listens_on_this_machine_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = lab_command(Path("mine"), 8123, browser=False)
    assert {"jupyterlab", "--ip=127.0.0.1", "--port=8123", "--no-browser"} <= set(command)
    assert str(tmp_path / "mine") in command
    assert "--no-browser" not in lab_command(Path("mine"), 8123, browser=True)


def test_what_is_meant_for_jupyter_comes_last(tmp_path: Path) -> None:
    options = ["--allow-root", "--ip=127.0.0.2"]
    assert lab_command(tmp_path, 8123, browser=True, options=options)[-2:] == options
    assert voila_command(tmp_path / "page.ipynb", tmp_path, options)[-2:] == options


def test_a_token_is_in_a_file_and_not_on_the_command_line(tmp_path: Path) -> None:
    settings = write_settings(tmp_path / "settings", 8123, "a-secret", "dark")
    [file] = settings.iterdir()
    assert json.loads(file.read_text())["Voila"]["token"] == "a-secret"
    assert "a-secret" not in " ".join(voila_command(tmp_path / "page.ipynb", settings))


def test_a_browser_is_led_to_the_page_by_a_file(tmp_path: Path) -> None:
    address = page_address(8123, "a-secret")
    file = tmp_path / "open.html"
    assert lab._detour(tmp_path, address) == file.as_uri()
    assert f"url={address}" in file.read_text()
    assert "a-secret" not in file.as_uri()


def test_a_port_that_is_taken_is_passed_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        first = taken.getsockname()[1]
        assert first < free_port(first) <= first + TRIED_PORTS


def test_ports_that_are_all_taken_are_named() -> None:
    with (
        socket.create_server(("127.0.0.1", LAST_PORT)),
        pytest.raises(LabError, match=f"None of the ports {LAST_PORT} to {LAST_PORT} is free"),
    ):
        free_port(LAST_PORT)


def test_a_model_in_the_present_folder_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    assert lab._absolute_name("mine") == str(tmp_path / "mine")
    assert lab._absolute_name("dpnb/emoji-64") == "dpnb/emoji-64"


def test_copies_do_not_go_into_the_present_folder() -> None:
    assert COPIES.expanduser().is_absolute()


@pytest.mark.slow
def test_jupyterlab_that_refuses_root_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(LabError, match="not run as root, unless by: dpnb lab -- --allow-root"):
        open_lab(tmp_path, "m", 8123, browser=False, options=["--ServerApp.port=none"])


def test_what_is_not_installed_is_named_with_its_remedy() -> None:
    with pytest.raises(LabError, match=r"Nothing is not installed; run: pip install .dpnb\[lab\]"):
        lab._require("no_such_module", "Nothing")
