"""Opening notebooks, or the dashboard as a page, in a browser on this machine."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import webbrowser
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.machinery import all_suffixes
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from dpnb.atomic import write_text
from dpnb.errors import DpnbError

PACKAGE = Path(__file__).parent
COPIES = "dpnb-notebooks"
INSIDE = "dpnb/emoji-64"
REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
ALLOW_ROOT = "--allow-root"
PAGE = "dashboard.ipynb"
HERE = "127.0.0.1"
TRIED_PORTS, LAST_PORT = 50, 65535


class LabError(DpnbError, RuntimeError):
    """JupyterLab or Voila cannot be started so; the message says what to do."""


def make_page(model: str) -> dict[str, Any]:
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


def write_page(folder: Path, model: str, name: str = PAGE) -> Path:
    """Write that notebook into a folder, unless there is one of that name."""
    file = folder / name
    if not file.exists():
        write_text(file, json.dumps(make_page(model), indent=1) + "\n")
    return file


def check_model(model: str) -> None:
    """See to it that a name may be that of a pipeline, before it is in a notebook.

    Raises:
        ValueError: it is neither a folder, nor a file of a pipeline, nor a repository's name.
    """
    path = Path(model).expanduser()
    if path.is_dir() and not (path / "model_index.json").is_file():
        raise ValueError(
            f"{model or 'The present folder'} has no model_index.json, so that it holds no "
            "pipeline; give a folder that save_pretrained has written, or a repository's name."
        )
    is_file = path.is_file() and path.suffix == ".dduf"
    if not (path.is_dir() or is_file or REPOSITORY.fullmatch(model)):
        raise ValueError(
            f"{model!r} is neither a folder here nor the name of a repository, such as owner/name, "
            "nor dpnb/emoji-64."
        )


def choose_folder(package: Path = PACKAGE) -> Path:
    """Where notebooks are copied: below the present folder, or the home folder in a checkout.

    Args:
        package: the folder of dpnb.

    Raises:
        LabError: both are in the checkout, or there are modules beside the notebooks, which
            Python would take for installed ones.
    """
    places = (Path.cwd(), Path.home())
    free = [place for place in places if not _is_in_checkout(place, package)]
    if not free:
        raise LabError(f"{places[0]} is part of dpnb's source; choose a folder with --out.")
    folder = free[0] / COPIES
    modules = [file.name for file in folder.glob("*") if _is_importable(file)]
    if modules:
        raise LabError(
            f"{folder} holds modules ({', '.join(sorted(modules))}), which notebooks there import "
            f"before installed ones; if they are yours, run: dpnb lab --out {COPIES}"
        )
    return folder


def prepare_notebooks(folder: Path, model: str | None = None, package: Path = PACKAGE) -> Path:
    """Copy the notebooks into a folder, where what is there already stays as it is.

    Args:
        folder: where copies go.
        model: whose dashboard is to be shown, by a notebook of its own.
        package: the folder of dpnb.

    Returns:
        The notebook to open first.

    Raises:
        LabError: `folder` is a file, or is in none that can be written.
    """
    beside = package.parent / "notebooks"
    kept = beside if _is_checkout(package.parent) else package / "notebooks"
    notebooks = sorted(kept.glob("*.ipynb"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for notebook in notebooks:
            target = folder / notebook.name
            if not target.exists():
                write_text(target, notebook.read_text(encoding="utf-8"))
        if model is not None:
            return write_page(folder, model, _name_page(model))
        return folder / notebooks[0].name if notebooks else write_page(folder, INSIDE)
    except OSError as error:
        why = "it is a file" if folder.is_file() else f"{error.strerror or error}".lower()
        raise LabError(
            f"Notebooks cannot be copied into {folder} ({why}); choose another folder with --out."
        ) from error


def _name_page(model: str) -> str:
    """A name for a model's notebook that no other model's has."""
    if REPOSITORY.fullmatch(model) and "--" not in model:
        return f"dashboard-{model.replace('/', '--')}.ipynb"
    words = re.sub(r"[^\w.-]+", "-", Path(model).name).strip("-.")
    return f"dashboard-{words}-{zlib.crc32(model.encode()):08x}.ipynb"


def lab_command(
    folder: Path,
    port: int,
    browser: bool,
    options: Sequence[str] = (),
    notebook: str | None = None,
) -> list[str]:
    """What opens JupyterLab on a folder.

    Args:
        folder: of the notebooks.
        port: the first that is tried.
        browser: whether a browser is to open it.
        options: JupyterLab's own.
        notebook: the one that is open at first; the launcher is otherwise.

    Raises:
        LabError: JupyterLab is not installed.
    """
    _require("jupyterlab", "JupyterLab")
    return [
        *(sys.executable, "-m", "jupyterlab", str(folder.absolute())),
        *(f"--ip={HERE}", f"--port={port}"),
        "--IdentityProvider.cookie_options=samesite=Strict",
        *(() if notebook is None else (f"--LabApp.default_url=/lab/tree/{quote(notebook)}",)),
        *(() if browser else ("--no-browser",)),
        *options,
    ]


def root_options(options: Sequence[str], allow_root: bool) -> tuple[str, ...]:
    """What lets JupyterLab start as root, where root has started us.

    As it is started here, only this machine reaches it, and only with its token. Options of its
    own may change both.

    Args:
        options: JupyterLab's own.
        allow_root: whether it may start as root whatever they are.

    Raises:
        LabError: there are options, and nobody has allowed it.
    """
    allow_root = allow_root or ALLOW_ROOT in options
    if options and _is_root() and not allow_root:
        raise LabError(
            "As root, JupyterLab starts with options of its own only if you allow it; run: dpnb "
            f"lab {ALLOW_ROOT} -- {' '.join(options)}"
        )
    return (ALLOW_ROOT,) if (allow_root or _is_root()) and ALLOW_ROOT not in options else ()


def voila_command(file: Path, settings: Path, options: Sequence[str] = ()) -> list[str]:
    """What serves a notebook as a page, without its code; `options` are Voila's own.

    Args:
        file: the notebook.
        settings: the folder that `write_settings` wrote into; no other settings are read.
        options: arguments of the command line.

    Raises:
        LabError: Voila is not installed.
    """
    _require("voila", "Voila")
    return [
        *(sys.executable, "-m", "voila", str(file.absolute()), "--no-browser"),
        *(f"--Voila.config_file_paths={settings.absolute()}", *options),
    ]


def write_settings(folder: Path, port: int, token: str, theme: str = "light") -> Path:
    """Write how Voila serves a page to whoever has the token, and return the folder.

    The token is in a file, since every user of a machine may read command lines.
    """
    settings = {
        "Voila": {
            **{"ip": HERE, "port": port, "port_retries": 0, "token": token},
            "log_level": "WARN",
            # A page ends its kernel without a second token, which its own site's cookie replaces.
            "tornado_settings": {"allow_remote_access": False, "disable_check_xsrf": True},
        },
        "VoilaConfiguration": {"theme": theme},
        "IdentityProvider": {"cookie_options": {"samesite": "Strict"}},
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "voila.json", json.dumps(settings))
    return folder


def page_address(port: int, token: str) -> str:
    """Where a page is that only those see who know its token."""
    return f"http://{HERE}:{port}/?token={token}"


def free_port(first: int) -> int:
    """The first port from `first` on that nobody listens on.

    Raises:
        LabError: there is none among the next.
    """
    last = min(first + TRIED_PORTS, LAST_PORT)
    for port in range(first, last + 1):
        with suppress(OSError), socket.create_server((HERE, port)):
            return port
    raise LabError(f"None of the ports {first} to {last} is free; choose another with --port.")


def open_lab(
    folder: Path | None,
    model: str,
    port: int,
    browser: bool,
    options: Sequence[str] = (),
    allow_root: bool = False,
) -> int:
    """Copy the notebooks, and run JupyterLab on them until it is ended; its exit status.

    Args:
        folder: where the copies go; that of `choose_folder` by default.
        model: a folder, a repository, or a name inside; another than that inside gets a notebook
            with its dashboard.
        port: the first that is tried.
        browser: whether a browser is to open it.
        options: JupyterLab's own, as on its command line.
        allow_root: whether it starts as root with any of these options.

    Raises:
        LabError: JupyterLab is not installed, or does not start as root, or there is no place for
            the notebooks.
        ValueError: `model` is no name.
    """
    check_model(model)
    options = (*root_options(options, allow_root), *options)
    place = choose_folder() if folder is None else folder.expanduser()
    _require("jupyterlab", "JupyterLab")
    own = None if model == INSIDE else _absolute_name(model)
    notebook = prepare_notebooks(place, own)
    print(f"The notebooks are copies in {place.absolute()}, which are yours to change.", flush=True)
    with TemporaryDirectory(prefix="dpnb-") as elsewhere:
        return _run(lab_command(place, port, browser, options, notebook.name), elsewhere)


def open_page(model: str, port: int, browser: bool, theme: str, options: Sequence[str] = ()) -> int:
    """Serve the dashboard alone until that is ended, and say where; the server's exit status.

    Args:
        model: a folder, a repository, or a name inside.
        port: the first that is tried.
        browser: whether a browser is to open it.
        theme: `"light"` or `"dark"`.
        options: Voila's own, as on its command line.

    Raises:
        LabError: Voila is not installed, or no port is free.
        ValueError: `model` is no name.
    """
    check_model(model)
    _require("voila", "Voila")
    port, token = free_port(port), secrets.token_urlsafe(32)
    with TemporaryDirectory(prefix="dpnb-") as name:
        folder = Path(name)
        file = write_page(folder / "page", _absolute_name(model))
        settings = write_settings(folder / "settings", port, token, theme)

        def announce(server: subprocess.Popen[bytes]) -> None:
            if wait_for_answer(server, port):
                address = page_address(port, token)
                print(f"The dashboard is at {address} until you press Ctrl+C.", flush=True)
                if browser:
                    webbrowser.open(_detour(folder, address))

        return _run(voila_command(file, settings, options), name, announce)


def _run(
    command: list[str],
    folder: str,
    announce: Callable[[subprocess.Popen[bytes]], None] = lambda server: None,
) -> int:
    """Run a program until it ends, or Ctrl+C is pressed; its exit status.

    It starts in an empty folder, since Python and Jupyter's programs take code and settings from
    the one they start in, and the present one may be somebody's download.
    """
    with subprocess.Popen(command, cwd=folder) as server:
        try:
            announce(server)
            return server.wait()
        except KeyboardInterrupt:
            server.terminate()
            return 0


def wait_for_answer(server: subprocess.Popen[Any], port: int) -> bool:
    """Wait for an answer at the port; false if the server has ended before."""
    while server.poll() is None:
        with suppress(OSError), socket.create_connection((HERE, port), timeout=1):
            return True
        time.sleep(0.1)
    return False


def _detour(folder: Path, address: str) -> str:
    """A file that leads to the address, which a browser's command line is not to show."""
    file = folder / "open.html"
    write_text(file, f'<meta http-equiv="refresh" content="0; url={address}">')
    return file.as_uri()


def _absolute_name(model: str) -> str:
    """A model's name as it is understood in any folder."""
    return str(Path(model).absolute()) if Path(model).exists() else model


def _is_checkout(folder: Path) -> bool:
    """Whether a folder is dpnb's source."""
    return (folder / "pyproject.toml").is_file() and (folder / "notebooks").is_dir()


def _is_in_checkout(place: Path, package: Path) -> bool:
    source = package.parent
    return _is_checkout(source) and place.resolve().is_relative_to(source.resolve())


def _is_importable(file: Path) -> bool:
    """Whether Python would import it as a module."""
    inside = [file / f"__init__{suffix}" for suffix in all_suffixes()]
    return (file.is_file() and file.suffix in all_suffixes()) or any(f.is_file() for f in inside)


def _is_root() -> bool:
    return sys.platform != "win32" and os.geteuid() == 0


def _require(module: str, name: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise LabError(f'{name} is not installed; run: pip install "dpnb[lab]".')
