"""What every test runs under: no network, no user's cache, and a hub on the loopback interface."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache

os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="dpnb-tests-")
atexit.register(shutil.rmtree, os.environ["HF_HOME"], ignore_errors=True)
os.environ["DPNB_CACHE"] = os.path.join(os.environ["HF_HOME"], "dpnb")
os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"
os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # tiny networks: threads would only wait for one another

import pytest  # noqa: E402
import torch  # noqa: E402

from dpnb.strategies import compilation  # noqa: E402
from dpnb.strategies.compile_queue import CompileQueue  # noqa: E402
from tests.hub_server import HubServer, serve  # noqa: E402
from tests.slow import EVERY_CASE, mark_slow, spread_cases  # noqa: E402


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is slow before some of it is chosen."""
    mark_slow(items, config.rootpath)
    if not EVERY_CASE and (left_out := spread_cases(items)):
        config.hook.pytest_deselected(items=left_out)


def pytest_collection_finish() -> None:
    """Garbage is not looked for, again and again, among modules and tests that all stay."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub that serves nothing yet, and that is the one asked by default."""
    with serve() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture(autouse=True)
def code_at_once(request: pytest.FixtureRequest) -> Iterator[None]:
    """Blocks are not compiled meanwhile by a process that tests would wait for, but at once."""
    # Not by the fixture `monkeypatch`, which would be the last then to set things back.
    with pytest.MonkeyPatch.context() as patch:
        if request.node.get_closest_marker("compiles") is None:
            patch.setattr(compilation, "shared_queue", forgetful_queue)
        yield


@cache
def forgetful_queue() -> CompileQueue:
    """The one that all tests ask."""
    from tests.strategies.eager_code import ForgetfulQueue

    return ForgetfulQueue()


@pytest.fixture(scope="session", autouse=True)
def full_precision() -> Iterator[None]:
    """A GPU computes float32 as such, or a picture could not be compared with the CPU's."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
