"""The dashboard for marimo, which shows anywidgets and not the boxes of ipywidgets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dpnb.errors import DpnbError
from dpnb.widgets.state import Request

if TYPE_CHECKING:
    from dpnb.widgets.anywidget_board import AnywidgetBoard


class AnywidgetError(DpnbError, ImportError):
    """The package anywidget is not there; the message says how to get it."""


def marimo_dashboard(pipe: Any, request: Request | None = None) -> AnywidgetBoard:
    """A board for `pipe` as one anywidget: prompt and picture, switches, memory and time, history.

    It shows the same runs and switches as all panels of the pipeline. Settings of switches and
    pictures to draw from are not set in it: switch on with `pipe.strategies.enable`, and give
    pictures in `request`.

    ```python
    dpnb.marimo_dashboard(pipe)
    ```

    Args:
        pipe: a pipeline of whatever class; see `dpnb.dashboard`.
        request: what the fields show at first; by default an example.

    Returns:
        A widget that shows itself in marimo, JupyterLab and wherever else anywidgets are shown;
        `close()` takes it away.

    Raises:
        AnywidgetError: anywidget is not installed.
        AttachError: it is no pipeline, or one that cannot be attached.
        TypeError: `request` is none.
    """
    try:
        from dpnb.widgets.anywidget_board import AnywidgetBoard
    except ModuleNotFoundError as error:
        if error.name != "anywidget":
            raise
        raise AnywidgetError(
            "marimo_dashboard needs the package anywidget, which is not installed; run "
            'pip install "dpnb[marimo]".'
        ) from None
    return AnywidgetBoard(pipe, request)
