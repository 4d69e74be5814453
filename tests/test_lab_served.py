"""`dpnb lab` as people run it, asked over HTTP: who is let in, and whose code is executed."""

from __future__ import annotations

import http.client
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest

from dpnb.lab import wait_for_answer
from tests.browser.servers import ROOT, environment, free_port

pytestmark = pytest.mark.slow

CONSOLE_SCRIPT = "import sys; sys.path.pop(0); from dpnb.cli import main; main()"
PLANTED = "import pathlib; pathlib.Path({!r}).touch()\n"
NAMES = (
    *("voila", "jupyterlab", "jupyter_server", "ipykernel_launcher", "ipykernel", "IPython"),
    *("traitlets", "tornado", "nbformat", "torch", "secrets", "sitecustomize", "usercustomize"),
    *("jupyter_config", "jupyter_server_config", "jupyter_lab_config", "ipython_config"),
    *("ipython_kernel_config", "dpnb"),
)
WEAKER = '{"Voila": {"token": ""}, "IdentityProvider": {"token": ""}}'
SOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Version": "13",
}
STRANGERS = (
    *("evil.example", "evil.example:8888", "192.168.1.5", "0.0.0.0", "[2001:db8::1]:8888"),
    *("127.0.0.1.evil.example", "localhost.evil.example:8888"),
)


@dataclass(frozen=True)
class Answer:
    """What a server has said, without following where it redirects to."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def is_refusal(self) -> bool:
        asks_for_token = self.status == 302 and self.headers["Location"].startswith("/login")
        return asks_for_token or self.status in (403, 404, 405)


@dataclass(frozen=True)
class Server:
    """A server that `dpnb lab` has started in a folder of planted code."""

    address: str
    folder: Path

    @property
    def token(self) -> str:
        return urlsplit(self.address).query.removeprefix("token=")

    def ask(self, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection(urlsplit(self.address).netloc, timeout=180)
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        text = "" if answer.status == 101 else answer.read().decode()
        connection.close()
        found = {name: ", ".join(answer.headers.get_all(name, [])) for name in answer.headers}
        return Answer(answer.status, found, text)

    def kernels(self) -> set[Path]:
        """The connection files of the kernels that run."""
        return set(self.folder.rglob("kernel-*.json"))

    def executed(self) -> set[str]:
        """The planted files that have run."""
        return {file.name for file in (self.folder / "executed").iterdir()}


def plant(folder: Path, executed: Path) -> None:
    """Fill a folder with modules and settings that Python and Jupyter would find by their names."""
    for new in (folder, executed):
        new.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").write_text(PLANTED.format(str(executed / name)))
    (folder / "model_index.json").write_text("{}")
    for name in ("voila", "jupyter_config", "jupyter_server_config", "jupyter_lab_config"):
        (folder / f"{name}.json").write_text(WEAKER)


@contextmanager
def dpnb_lab(folder: Path, *arguments: str) -> Iterator[Server]:
    """`dpnb lab` in a downloaded folder, until it is interrupted; nothing is left behind."""
    download, temporary = folder / "download", folder / "temporary"
    plant(download, folder / "executed")
    temporary.mkdir()
    command = [sys.executable, "-c", CONSOLE_SCRIPT, "lab", "--no-browser"]
    with subprocess.Popen(
        [*command, f"--port={free_port()}", *arguments],
        cwd=download,
        env=environment(folder / "jupyter") | {"TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Shells let what they start in the background ignore interrupts.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            assert process.stdout is not None
            shown = (re.search(r"http://127\S+token=[\w-]+", line) for line in process.stdout)
            server = Server(next(match.group() for match in shown if match), folder)
            # A server waits for ever when nobody reads what it says.
            reader = Thread(target=process.stdout.read, daemon=True)
            reader.start()
            assert wait_for_answer(process, urlsplit(server.address).port or 0)
            yield server
            process.send_signal(signal.SIGINT)
            process.wait(60)
            reader.join(60)
        finally:
            process.kill()
    assert process.returncode == 0
    assert not list(temporary.glob("dpnb-*"))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with dpnb_lab(tmp_path_factory.mktemp("page"), "--voila", "--model=.") as server:
        yield server


@pytest.fixture(scope="module")
def opened(page: Server) -> Answer:
    """The page, as who has the token sees it."""
    return page.ask(f"/?token={page.token}")


@pytest.fixture(scope="module")
def jupyterlab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("lab")
    with dpnb_lab(folder) as server:
        yield server


@pytest.mark.parametrize(
    "path", ["/", "/?token=", "/?token=wrong", "/dashboard.ipynb", "/voila/render/dashboard.ipynb"]
)
def test_without_its_token_a_page_starts_no_kernel(page: Server, path: str) -> None:
    before = page.kernels()
    assert page.ask(path).is_refusal
    assert page.ask(path, headers={"Sec-Fetch-Site": "cross-site"}).is_refusal
    assert page.kernels() == before


@pytest.mark.parametrize("host", STRANGERS)
def test_a_page_answers_no_other_host_even_with_the_token(page: Server, host: str) -> None:
    before = page.kernels()
    assert page.ask(f"/?token={page.token}", headers={"Host": host}).status == 403
    assert page.ask(f"/api/kernels/?token={page.token}", headers={"Host": host}).is_refusal
    assert page.kernels() == before


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8888", "[::1]:8888"])
def test_this_machine_has_several_names(page: Server, host: str) -> None:
    assert page.ask("/login", headers={"Host": host}).status == 200


def test_with_its_token_a_page_opens(page: Server, opened: Answer) -> None:
    assert opened.status == 200
    assert "<title>dpnb</title>" in opened.text
    assert len(page.kernels()) == 1
    cookie = opened.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie


def test_a_kernel_is_reached_only_with_the_token(page: Server, opened: Answer) -> None:
    kernel = re.search(r'kernelId"?: "([\w-]{36})"', opened.text)
    assert kernel is not None
    path = f"/api/kernels/{kernel.group(1)}"
    for stranger in ({}, {"Host": STRANGERS[0], "Authorization": f"token {page.token}"}):
        assert page.ask(path, headers=stranger).status == 403
        assert page.ask(path, "DELETE", stranger).status == 403
        assert page.ask(f"{path}/channels", headers=stranger | SOCKET).status == 403
    mine = {"Authorization": f"token {page.token}"}
    assert page.ask(path, headers=mine).status == 200
    assert page.ask(f"{path}/channels", headers=mine | SOCKET).status == 101


def test_a_page_that_is_left_ends_its_kernel(page: Server) -> None:
    before = page.kernels()
    opened = page.ask(f"/?token={page.token}")
    cookie = {"Cookie": opened.headers["Set-Cookie"].partition(";")[0]}
    [kernel] = page.kernels() - before
    path = f"/voila/api/shutdown/{kernel.stem.removeprefix('kernel-')}"
    for stranger in ({}, {"Host": STRANGERS[0]} | cookie, {"Origin": "http://evil.example"}):
        assert page.ask(path, "POST", stranger).is_refusal
    assert kernel in page.kernels()
    assert page.ask(path, "POST", cookie).status == 204
    assert page.kernels() == before


def test_a_page_executes_nothing_of_the_present_folder(page: Server, opened: Answer) -> None:
    assert opened.status == 200
    assert page.executed() == set()


def test_every_page_has_a_token_of_its_own(page: Server, jupyterlab: Server) -> None:
    assert len({page.token, jupyterlab.token}) == 2
    assert min(len(page.token), len(jupyterlab.token)) >= 32


@pytest.mark.parametrize(
    "path", ["/lab", "/api/kernels", "/api/contents", "/voila/render/01.ipynb"]
)
def test_jupyterlab_wants_its_token_and_this_machine(jupyterlab: Server, path: str) -> None:
    mine = {"Authorization": f"token {jupyterlab.token}"}
    assert jupyterlab.ask(path).is_refusal
    assert jupyterlab.ask(path, "POST").is_refusal
    for host in STRANGERS:
        assert jupyterlab.ask(path, headers=mine | {"Host": host}).status == 403
    assert jupyterlab.kernels() == set()
    assert jupyterlab.ask("/api/contents", headers=mine).status == 200


def test_jupyterlab_opens_the_first_notebook_of_its_copies(jupyterlab: Server) -> None:
    copies = sorted((jupyterlab.folder / "download" / "dpnb-notebooks").glob("*.ipynb"))
    assert [file.name for file in copies] == [
        file.name for file in sorted((ROOT / "notebooks").glob("*.ipynb"))
    ]
    assert urlsplit(jupyterlab.address).path == f"/lab/tree/{copies[0].name}"


def test_the_cookie_of_jupyterlab_goes_to_no_other_site(jupyterlab: Server) -> None:
    opened = jupyterlab.ask(f"/lab?token={jupyterlab.token}")
    assert opened.status == 200
    assert "SameSite=Strict" in opened.headers["Set-Cookie"]


def test_jupyterlab_executes_nothing_of_the_present_folder(jupyterlab: Server) -> None:
    mine = {"Authorization": f"token {jupyterlab.token}"}
    started = jupyterlab.ask("/api/kernels", "POST", mine)
    assert started.status == 201
    kernel = re.search(r'"id": "([\w-]{36})"', started.text)
    assert kernel is not None
    assert jupyterlab.ask(f"/api/kernels/{kernel.group(1)}", "DELETE", mine).status == 204
    assert jupyterlab.executed() == set()
