"""The page that people ask for: all panels of a pipeline, or of a model still to be chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any, overload

from dpnb.widgets.dashboard import Dashboard
from dpnb.widgets.model_board import ModelBoard
from dpnb.widgets.state import Request


@overload
def dashboard(pipe: str | Path | None = None, request: Request | None = None) -> ModelBoard: ...


@overload
def dashboard(pipe: Any, request: Request | None = None) -> Dashboard: ...


def dashboard(pipe: Any = None, request: Request | None = None) -> Dashboard | ModelBoard:
    """A page of panels for `pipe`: prompt and picture, switches, memory and time, plans,
    history.

    ```python
    dpnb.dashboard(pipe)
    ```

    Args:
        pipe: a pipeline of whatever class. One that was not written here is attached, and stays so:
            `dpnb.attach(pipe).detach()` leaves it as it was. In its place a folder, a file, or a
            name on the hub or in the package, or nothing: the page then has a field for the model,
            and what is named is loaded in the background.
        request: what the fields show at first; by default an example.

    Returns:
        A widget that shows itself; `close()` takes it away.

    Raises:
        AttachError: it is no pipeline, or one that cannot be attached.
        TypeError: `request` is none.
        ValueError: the name is empty.
    """
    if pipe is None or isinstance(pipe, (str, Path)):
        return ModelBoard(pipe, request)
    return Dashboard(pipe, request)
