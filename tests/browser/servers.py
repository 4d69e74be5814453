"""Jupyter servers on free ports of the loopback interface, which leave nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dpnb.lab import lab_command, page_address, voila_command, write_settings

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TOKEN = "of-a-page-of-the-tests"
HANGING = 300
"""Seconds after which a server or a page is thought to hang: no time that anything should take."""

ROOT = Path(__file__).parent.parent.parent


def chromium() -> str | None:
    """The browser's program: that of the system, else the one that playwright has installed."""
    named = os.environ.get("CHROMIUM")
    found = named or next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is not None:
        return found
    folder = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH", Path.home() / ".cache/ms-playwright"))
    return next((str(path) for path in sorted(folder.glob("chromium-*/chrome-*/chrome"))), None)


@contextmanager
def voila(file: Path, folder: Path) -> Iterator[str]:
    """The address of a page made of the notebook `file`; `folder` takes what Jupyter writes."""
    port = free_port()
    settings = write_settings(folder / "page", port, TOKEN)
    command = voila_command(file, settings, ["--VoilaConfiguration.allow_theme_override=YES"])
    with _served(command, folder, f"http://127.0.0.1:{port}/voila/static/main.js"):
        yield page_address(port, TOKEN)


@contextmanager
def jupyterlab(notebooks: Path, folder: Path, theme: str = "JupyterLab Light") -> Iterator[str]:
    """The address of JupyterLab on the folder `notebooks`."""
    port, settings = free_port(), folder / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')
    (settings / "themes.jupyterlab-settings").write_text(json.dumps({"theme": theme}))
    options = ["--allow-root", "--IdentityProvider.token=", "--ServerApp.password="]
    options += ["--LabApp.expose_app_in_browser=True"]
    command = lab_command(notebooks, port, browser=False, options=options)
    with _served(command, folder, f"http://127.0.0.1:{port}/api"):
        yield f"http://127.0.0.1:{port}/lab/"


@contextmanager
def marimo(page: Path, folder: Path) -> Iterator[str]:
    """The address of a page of marimo; `folder` takes what it writes."""
    port = free_port()
    options = ("--headless", "--no-token", "--host=127.0.0.1", f"--port={port}")
    command = [sys.executable, "-m", "marimo", "run", str(page), *options]
    with _served(command, folder, address := f"http://127.0.0.1:{port}/"):
        yield address


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def environment(folder: Path) -> dict[str, str]:
    """Variables under which Jupyter reads and writes in `folder` alone."""
    places = {f"JUPYTER_{kind}_DIR": str(folder / kind) for kind in ("CONFIG", "RUNTIME")}
    places |= {
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    return os.environ | places


@contextmanager
def _served(command: list[str], folder: Path, address: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=environment(folder), stdout=log, stderr=subprocess.STDOUT
        )
        try:
            _wait_for(address, server, folder / "log")
            yield
        finally:
            server.terminate()
            server.wait(HANGING)


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + HANGING
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"the server has ended:\n{log.read_text()}")
        try:
            urllib.request.urlopen(address, timeout=HANGING).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"nothing answers at {address}:\n{log.read_text()}")
