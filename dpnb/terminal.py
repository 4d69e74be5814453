"""What a person sees at a terminal beside results: progress, and errors in a sentence."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from dpnb.errors import DpnbError

if TYPE_CHECKING:
    from PIL.Image import Image

out = Console()
err = Console(stderr=True)


def watch(steps: Iterator[Any], what: str) -> list[Image]:
    """Run to the end under a progress bar, and return the pictures."""
    from dpnb.stages import Stage

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
    )
    output: Any = None
    with bar:
        task = bar.add_task(what[:40], total=None)
        for step in steps:
            if step.stage is Stage.DENOISING:
                bar.update(task, completed=step.index + 1, total=step.total)
            output = step.output
    return list(output.images)


@contextmanager
def errors_as_sentences(debug: bool) -> Iterator[None]:
    """Show an error as one sentence, and leave with status 1; with 130 after an interrupt."""
    try:
        yield
    except KeyboardInterrupt:
        err.print("Interrupted; what was complete has been kept.", soft_wrap=True)
        sys.exit(130)
    except Exception as error:  # whatever it is, a person at a terminal is told in a sentence
        if debug:
            traceback.print_exc()
        said = escape(sentence(error))
        err.print(f"[bold red]Error:[/] {said}", soft_wrap=True, highlight=False)
        sys.exit(1)


def sentence(error: Exception) -> str:
    """What an error says, on one line; of an unforeseen one, how to learn more."""
    text = " ".join(str(error).split()).encode("utf-8", "backslashreplace").decode()
    if isinstance(error, OSError) and not isinstance(error, DpnbError) and error.filename:
        return f"{error.filename}: {error.strerror}."
    if isinstance(error, (DpnbError, ValueError, TypeError, OSError, RuntimeError)) and text:
        return text
    return f"{type(error).__name__}: {text or 'no reason is given'}; --debug shows where."
