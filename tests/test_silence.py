"""What is kept back while packages are imported, and that nothing stays so."""

from __future__ import annotations

import ast
import logging
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from dpnb import silence
from dpnb.lab import make_page
from dpnb.silence import silence_imports, silence_transformers
from tests.planning.z_image import SMALL, write_z_image
from tests.source import FILES, ROOT, syntax_tree, within
from tests.strategies.interrupts import Injection, lines_of

LOUD = {"transformers", "torchao", "bitsandbytes", "xformers", "diffusers"}
"""Packages that say something when they, or what they need, are imported."""

AFTER_A_TRIAL = ("nn/attention_kernels.py", "XFormersKernel")
"""It asks for xFormers at every call; the first one is a trial, and silent."""

XFORMERS = """
import logging, warnings
logging.getLogger("xformers").warning("WARNING[XFORMERS]: no extensions for this torch")
logging.getLogger("xformers.ops").warning("A matching Triton is not available")
warnings.warn("custom_fwd is deprecated", FutureWarning)
warnings.warn("this is said in the name of who imports it", stacklevel=2)
"""
OPS = "def memory_efficient_attention(*args, **more): raise NotImplementedError('no operator')\n"

WITHOUT = """
import importlib.machinery
plain = importlib.machinery.PathFinder.find_spec
def find_spec(name, path=None, target=None):
    hidden = name.partition(".")[0] in ("torchao", "bitsandbytes", "xformers")
    return None if hidden else plain(name, path, target)
importlib.machinery.PathFinder.find_spec = find_spec
"""

NOTEBOOK = """
import dpnb
pipe = dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64")
board = dpnb.dashboard(pipe)
board.draw().wait()
board
"""

SCRIPT = """
import dpnb
pipe = dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64")
pipe.set_progress_bar_config(disable=True)
board = dpnb.dashboard(pipe)
board.draw().wait()
board.close()
dpnb.plan(pipe)
with dpnb.record(pipe):
    pipe("red apple", num_inference_steps=1)
for kind in ("int8", "nf4"):
    try:
        small = dpnb.DiffusionPipeline.from_pretrained(
            "dpnb/emoji-64", quantization_config={"unet": kind, "text_encoder": kind}
        )
    except dpnb.QuantizationError:  # these packages are not installed
        continue
    small.set_progress_bar_config(disable=True)
    small("red apple", num_inference_steps=1)
"""


def loudness() -> object:
    """What loggers and warnings are let say."""
    from transformers.utils import logging as transformers_logging

    return (
        {name: logging.getLogger(name).level for name in silence.LOGGERS},
        list(warnings.filters),
        transformers_logging.get_verbosity(),
        transformers_logging.is_progress_bar_enabled(),
    )


@pytest.fixture
def levels() -> Iterator[None]:
    """What this test finds of loggers and warnings, it has to leave."""
    before = loudness()
    yield
    assert loudness() == before


@pytest.mark.usefixtures("levels")
@pytest.mark.parametrize("logger", ["torchao", "torchao.kernel", "torch.utils._pytree", "xformers"])
def test_warnings_are_kept_back_and_errors_are_not(
    logger: str, caplog: pytest.LogCaptureFixture
) -> None:
    with silence_imports():
        logging.getLogger(logger).warning("for another card")
        logging.getLogger(logger).error("this matters")
        logging.getLogger("mine").warning("this is somebody else's")
    logging.getLogger(logger).warning("said again")
    shown = [record.getMessage() for record in caplog.records]
    assert shown == ["this matters", "this is somebody else's", "said again"]


@pytest.mark.usefixtures("levels")
def test_what_packages_warn_of_is_ignored_only_for_as_long() -> None:
    def warn(module: str) -> None:
        warnings.warn_explicit("old", FutureWarning, "a.py", 1, module=module)

    with silence_imports():
        warn("xformers.ops")
        with pytest.raises(FutureWarning):
            warn("xformers_of_mine")
    with pytest.raises(FutureWarning):
        warn("xformers.ops")


@pytest.mark.usefixtures("levels")
def test_an_error_within_leaves_nothing_behind() -> None:
    with pytest.raises(ImportError), silence_imports():
        raise ImportError


@pytest.mark.usefixtures("levels")
@pytest.mark.parametrize("first_to_leave", [0, 1])
def test_threads_leave_in_any_order(first_to_leave: int) -> None:
    leave = [Event(), Event()]
    inside = [Event(), Event()]

    def stay(number: int) -> None:
        with silence_imports():
            inside[number].set()
            leave[number].wait()

    threads = [Thread(target=stay, args=(number,)) for number in range(2)]
    for thread, is_in in zip(threads, inside, strict=True):
        thread.start()
        is_in.wait()
    leave[first_to_leave].set()
    threads[first_to_leave].join()
    assert logging.getLogger("torchao").level == logging.ERROR
    leave[1 - first_to_leave].set()
    threads[1 - first_to_leave].join()


@pytest.mark.parametrize("silence_them", [silence_imports, silence_transformers])
def test_an_interrupt_at_any_line_leaves_nothing_behind(
    silence_them: Callable[[], AbstractContextManager[None]],
) -> None:
    def be_silent() -> None:
        with silence_them():
            pass

    before, lines = loudness(), lines_of(be_silent)
    assert len(lines) > 25
    for line, count in lines.items():
        for number in range(1, count + 1):
            with suppress(KeyboardInterrupt), Injection((line, number)) as injection:
                be_silent()
            assert injection.has_hit
            assert loudness() == before, line


@pytest.mark.usefixtures("levels")
def test_transformers_is_as_talkative_as_before() -> None:
    from transformers.utils import logging as transformers_logging

    before = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    with silence_transformers():
        assert transformers_logging.get_verbosity() == logging.ERROR
        assert not transformers_logging.is_progress_bar_enabled()
    after = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    assert after == before


def audible(node: ast.AST) -> Iterator[ast.AST]:
    """The imports in a node that are not within a silence, nor for types alone."""
    if isinstance(node, ast.With) and any("silence_" in ast.unparse(i) for i in node.items):
        return
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Import) and {a.name.split(".")[0] for a in node.names} & LOUD:
        yield node
    if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in LOUD:
        yield node
    for child in ast.iter_child_nodes(node):
        yield from audible(child)


def test_loud_packages_are_imported_in_silence() -> None:
    exempt_file, exempt_class = AFTER_A_TRIAL
    for path in FILES:
        for node in syntax_tree(path).body:
            is_exempt = within(path) == exempt_file and getattr(node, "name", "") == exempt_class
            if not is_exempt and within(path) != "silence.py":
                assert [ast.unparse(one) for one in audible(node)] == [], path


@pytest.fixture(scope="module", params=["as installed", "with xformers", "with none of them"])
def packages(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The environment of a process that finds these optional packages."""
    folder = tmp_path_factory.mktemp("packages")
    if request.param == "with xformers":
        (folder / "xformers").mkdir()
        (folder / "xformers" / "__init__.py").write_text(XFORMERS)
        (folder / "xformers" / "ops.py").write_text(OPS)
    elif request.param == "with none of them":
        (folder / "sitecustomize.py").write_text(WITHOUT)
    return {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}


def red_lines(packages: dict[str, str], folder: Path, *command: str) -> str:
    """What a command writes to standard error."""
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=packages, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.slow
def test_the_fake_packages_are_loud(packages: dict[str, str], tmp_path: Path) -> None:
    if "sitecustomize.py" in os.listdir(packages["PYTHONPATH"].partition(os.pathsep)[0]):
        absent = "import importlib.util as u; assert not u.find_spec('torchao')"
        assert red_lines(packages, tmp_path, "-c", absent) == ""
    else:
        loud = "from transformers import CLIPTextModel\ntry: import xformers\nexcept ImportError: 0"
        assert red_lines(packages, tmp_path, "-c", loud) != ""


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("plan", "z-image", "--device", "3060", "--size", "64", "--dtype", "bfloat16"),
        ("draw", "red apple", "--steps", "1"),
        ("sweep", "dpnb/emoji-64", "--steps", "1", "--repeats", "1"),
    ],
    ids=" ".join,
)
def test_commands_write_nothing_but_progress(tmp_path: Path, command: tuple[str, ...]) -> None:
    if "z-image" in command:
        write_z_image(tmp_path / "z-image", SMALL)
    shown = red_lines({**os.environ, "PYTHONPATH": str(ROOT)}, tmp_path, "-m", "dpnb", *command)
    assert re.sub(r"[^\r\n]*(━|\dplan/s|s/plan|0/3 \[)[^\r\n]*", "", shown).strip() == ""


@pytest.mark.slow
@pytest.mark.parametrize("packages", ["with xformers"], indirect=True)
def test_planning_writes_nothing_in_red(packages: dict[str, str], tmp_path: Path) -> None:
    command = ("-m", "dpnb", "plan", "tiny-sd", "--device", "3060", "--size", "64")
    assert red_lines(packages, tmp_path, *command) == ""


@pytest.mark.slow
@pytest.mark.parametrize("packages", ["with xformers", "with none of them"], indirect=True)
def test_a_script_writes_nothing_in_red(packages: dict[str, str], tmp_path: Path) -> None:
    assert red_lines(packages, tmp_path, "-c", SCRIPT) == ""


@pytest.mark.slow
def test_a_notebook_shows_nothing_in_red(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    page = make_page("dpnb/emoji-64")
    page["cells"][0]["source"] = NOTEBOOK
    notebook: Any = nbformat.from_dict(page)  # type: ignore[no-untyped-call]
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    [cell] = notebook.cells
    assert [one for one in cell.outputs if one.get("name") == "stderr"] == []
    shown = [kind for one in cell.outputs for kind in one.get("data", {})]
    assert "application/vnd.jupyter.widget-view+json" in shown
