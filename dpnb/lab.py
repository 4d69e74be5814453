"""Opening notebooks, or the dashboard as a page, in a browser on this machine."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dpnb.atomic import write_text
from dpnb.errors import DpnbError

PACKAGE = Path(__file__).parent
COPIES = Path("~/dpnb-notebooks")
PAGE = "dashboard.ipynb"
HERE = "127.0.0.1"
TRIED_PORTS, LAST_PORT = 50, 65535


class LabError(DpnbError, RuntimeError):
    """A program that is needed is not there; the message says how to get it."""


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


def write_page(folder: Path, model: str) -> Path:
    """Write that notebook into a folder, unless there is one."""
    file = folder / PAGE
    if not file.exists():
        write_text(file, json.dumps(make_page(model), indent=1) + "\n")
    return file


def prepare_notebooks(folder: Path, model: str, package: Path = PACKAGE) -> Path:
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


def lab_command(folder: Path, port: int, browser: bool, options: Sequence[str] = ()) -> list[str]:
    """What opens JupyterLab on a folder; `options` are JupyterLab's own.

    Raises:
        LabError: JupyterLab is not installed.
    """
    _require("jupyterlab", "JupyterLab")
    return [
        *(sys.executable, "-m", "jupyterlab", str(folder.absolute())),
        *(f"--ip={HERE}", f"--port={port}"),
        "--IdentityProvider.cookie_options=samesite=Strict",
        *(() if browser else ("--no-browser",)),
        *options,
    ]


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
    folder: Path | None, model: str, port: int, browser: bool, options: Sequence[str] = ()
) -> int:
    """Run JupyterLab on the notebooks until it is ended; its exit status.

    Raises:
        LabError: JupyterLab is not installed, or does not start as root.
    """
    opened = prepare_notebooks(folder or COPIES.expanduser(), _absolute_name(model))
    with TemporaryDirectory(prefix="dpnb-") as elsewhere:
        status = _run(lab_command(opened, port, browser, options), elsewhere)
    if status != 0 and _is_root() and "--allow-root" not in options:
        raise LabError("JupyterLab does not run as root, unless by: dpnb lab -- --allow-root")
    return status


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
    """
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


def _is_root() -> bool:
    return sys.platform != "win32" and os.geteuid() == 0


def _require(module: str, name: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise LabError(f'{name} is not installed; run: pip install "dpnb[lab]".')
