from __future__ import annotations

import json
import os
import socket
from functools import partial
from pathlib import Path

import pytest

from dpnb import lab
from dpnb.lab import (
    LAST_PORT,
    TRIED_PORTS,
    LabError,
    check_model,
    choose_folder,
    free_port,
    lab_command,
    make_page,
    open_lab,
    open_page,
    page_address,
    prepare_notebooks,
    root_options,
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


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The folder of an installed dpnb with two notebooks."""
    kept = tmp_path / "dpnb" / "notebooks"
    kept.mkdir(parents=True)
    (kept / "02.ipynb").write_text("new")
    (kept / "01.ipynb").write_text("new")
    return kept.parent


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The folder of dpnb in its source, which has a notebook."""
    source = tmp_path / "source"
    (source / "notebooks").mkdir(parents=True)
    (source / "notebooks" / "01.ipynb").write_text("new")
    (source / "pyproject.toml").touch()
    return source / "dpnb"


def texts(folder: Path) -> list[str]:
    return [file.read_text() for file in sorted(folder.iterdir())]


def test_notebooks_are_copied_once_and_the_first_one_is_opened(
    tmp_path: Path, package: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "01.ipynb").write_text("changed by me")
    assert prepare_notebooks(mine, package=package) == mine / "01.ipynb"
    assert texts(mine) == ["changed by me", "new"]


def test_notebooks_of_the_source_are_copied_too(tmp_path: Path, checkout: Path) -> None:
    opened = prepare_notebooks(tmp_path / "mine", package=checkout)
    assert opened == tmp_path / "mine" / "01.ipynb"
    assert texts(tmp_path / "mine") == ["new"]


@pytest.mark.parametrize("below", ["", "notebooks"])
def test_copies_go_below_the_present_folder_and_never_into_the_source(
    tmp_path: Path, checkout: Path, below: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.chdir(tmp_path)
    assert choose_folder(checkout) == tmp_path / "dpnb-notebooks"
    monkeypatch.chdir(checkout.parent / below)
    assert choose_folder(checkout) == tmp_path / "home" / "dpnb-notebooks"
    monkeypatch.setattr(Path, "home", lambda: checkout.parent)
    with pytest.raises(LabError, match=r"is part of dpnb's source; choose a folder with --out\."):
        choose_folder(checkout)


@pytest.mark.parametrize("module", ["tornado.py", "torch.abi3.so", "ipykernel/__init__.py"])
def test_modules_beside_notebooks_are_not_taken_unasked(
    tmp_path: Path, package: Path, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    planted = tmp_path / "dpnb-notebooks" / module
    planted.parent.mkdir(parents=True)
    planted.parent.joinpath("notes.txt").touch()
    assert choose_folder(package) == tmp_path / "dpnb-notebooks"
    planted.touch()
    name = module.partition("/")[0]
    with pytest.raises(LabError, match=rf"holds modules \({name}\).*dpnb lab --out dpnb-noteb"):
        choose_folder(package)


def test_without_any_notebook_there_is_one_with_the_dashboard(tmp_path: Path) -> None:
    file = prepare_notebooks(tmp_path / "mine", package=tmp_path / "dpnb")
    assert list((tmp_path / "mine").iterdir()) == [file]
    assert json.loads(file.read_text()) == make_page("dpnb/emoji-64")


def test_no_two_models_share_a_notebook(tmp_path: Path, package: Path) -> None:
    models = ("acme/my-model", "acme-my/model", "/m/a-b", "/m-a/b", "/n/a-b", "a/b--c", "a--b/c")
    files = {prepare_notebooks(tmp_path / "mine", model, package) for model in models}
    assert len(files) == len(models)


@pytest.mark.parametrize("model", ["owner/my model", "/folder/of/some", "../mine"])
def test_another_model_has_a_notebook_of_its_own(tmp_path: Path, package: Path, model: str) -> None:
    file = prepare_notebooks(tmp_path / "mine", model, package)
    assert file.parent == tmp_path / "mine"
    assert file.name.startswith("dashboard-")
    assert json.loads(file.read_text()) == make_page(model)
    file.write_text("mine")
    assert prepare_notebooks(tmp_path / "mine", model, package).read_text() == "mine"


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_where_no_copies_can_be_written_is_a_sentence(
    tmp_path: Path, package: Path, name: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LabError, match=r"cannot be copied into .*; choose another folder with"):
        prepare_notebooks(tmp_path / name, package=package)


@pytest.mark.parametrize("model", ["", "sd3", "no/such/folder", "a b/c", "https://a.b/c", "-/.x"])
def test_what_can_be_no_model_is_refused_before_anything_is_opened(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for opening in (partial(open_lab, None), partial(open_page, theme="light")):
        with pytest.raises(ValueError, match=r"model_index|is neither a folder here nor"):
            opening(model=model, port=8888, browser=False)
    assert list(tmp_path.iterdir()) == []


def test_models_are_folders_files_and_repositories(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").touch()
    (tmp_path / "one.dduf").touch()
    for model in (str(tmp_path), str(tmp_path / "one.dduf"), "dpnb/emoji-64", "owner/re.po-1_x"):
        check_model(model)


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


def test_a_notebook_is_open_at_first(tmp_path: Path) -> None:
    command = lab_command(tmp_path, 8123, browser=True, notebook="01 a.ipynb")
    assert "--LabApp.default_url=/lab/tree/01%20a.ipynb" in command
    assert "default_url" not in " ".join(lab_command(tmp_path, 8123, browser=True))


@pytest.mark.parametrize(
    ("user", "options", "allowed", "added"),
    [
        (0, [], False, ["--allow-root"]),
        (0, [], True, ["--allow-root"]),
        (0, ["--ip=0.0.0.0"], True, ["--allow-root"]),
        (0, ["--ip=0.0.0.0", "--allow-root"], False, []),
        (1000, [], False, []),
        (1000, ["--ip=0.0.0.0"], False, []),
    ],
)
def test_root_starts_jupyterlab_as_it_is_started_here(
    user: int,
    options: list[str],
    allowed: bool,
    added: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert list(root_options(options, allowed)) == added


def test_root_has_to_allow_other_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(LabError, match=r"run: dpnb lab --allow-root -- --ip=0\.0\.0\.0$"):
        open_lab(tmp_path / "mine", lab.INSIDE, 8123, browser=False, options=["--ip=0.0.0.0"])
    assert not (tmp_path / "mine").exists()


def test_what_is_not_installed_is_named_with_its_remedy() -> None:
    with pytest.raises(LabError, match=r"Nothing is not installed; run: pip install .dpnb\[lab\]"):
        lab._require("no_such_module", "Nothing")
