"""The output of a cell that stands for a panel where nothing is live.

It is beside the panel in the cell and holds a picture. As long as the panel is live, its own style
sheet hides it; in a saved notebook that is opened again, exported or read elsewhere there is no
live panel, and so no style sheet.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import ExitStack
from contextvars import copy_context
from typing import Any
from uuid import uuid4

from dpnb.widgets.browser_images import encode_png
from dpnb.widgets.session import Session
from dpnb.widgets.snapshot import WIDTH, Shown, draw_snapshot

logger = logging.getLogger(__name__)

PAUSE = 0.3
"""Seconds in which further changes are waited for."""


class StillOutput:
    """A picture of a session, in the cell that shows a panel of it.

    It is drawn anew after each run and each switch, on a thread of its own; at the end of a cell it
    is up to date, so that notebooks that run without a person keep the last state.

    Args:
        session: what is pictured.
    """

    def __init__(self, session: Session) -> None:
        self._session, self._name = session, f"dpnb-{uuid4().hex}"
        self._is_stale = False
        self._drawing, self._changing = threading.RLock(), threading.Lock()
        self._context = copy_context()
        self._thread: threading.Thread | None = None
        self._endings: ExitStack | None = None

    @property
    def is_possible(self) -> bool:
        """Whether the front end of this kernel hides it beside a live panel."""
        shell = find_shell()
        return shell is not None and is_hidden_by(shell)

    def show(self) -> None:
        """Add it to the cell that runs."""
        with self._drawing:
            self._publish(is_update=False)
        if self._endings is not None:
            return
        self._endings, self._context = ExitStack(), copy_context()
        session, events = self._session, find_shell().events
        for state, trait in ((session.run_state, "history"), (session.strategy_state, "active")):
            state.observe(self._on_change, trait)
            self._endings.callback(state.unobserve, self._on_change, trait)
        events.register("post_run_cell", self._on_cell_end)
        self._endings.callback(events.unregister, "post_run_cell", self._on_cell_end)

    def close(self) -> None:
        """Leave the last state there, for good."""
        if self._endings is not None:
            self._endings.close()
            self._endings = None
            self.refresh()

    def refresh(self) -> None:
        """Draw what has changed since the picture was drawn, if anything has."""
        with self._drawing:
            if not self._is_stale:
                return
            self._is_stale = False
            self._publish(is_update=True)

    def _on_change(self, _: Any) -> None:
        with self._changing:
            self._is_stale = True
            if self._thread is None:
                work = self._context.copy().run
                self._thread = threading.Thread(target=work, args=(self._work,), daemon=True)
                self._thread.start()

    def _work(self) -> None:
        """Draw what changes, but not while a run is measured."""
        wait, run_state = threading.Event().wait, self._session.run_state
        while True:
            wait(PAUSE)
            if run_state.phase == "idle":
                self.refresh()
            with self._changing:
                if not self._is_stale:
                    self._thread = None
                    return

    def _on_cell_end(self, _: Any) -> None:
        self.refresh()

    def _publish(self, is_update: bool) -> None:
        """Show the present picture; the panel and its runs go on where that fails."""
        try:
            self._display(Shown.of(self._session), is_update)
        except Exception:
            logger.exception("the still picture of a panel cannot be drawn")

    def _display(self, shown: Shown, is_update: bool) -> None:
        from IPython.display import display

        words = shown.describe()
        # What the style sheet knows the picture by; of the background, some read one place of two.
        look = {"width": WIDTH, "needs_background": "light"}
        display(  # type: ignore[no-untyped-call]
            {"image/png": encode_png(draw_snapshot(shown)), "text/plain": words},
            metadata={"image/png": look, "needs_background": "light"},
            raw=True,
            display_id=self._name,
            update=is_update,
        )


def find_shell() -> Any:
    """The shell of a kernel; `None` elsewhere."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    shell = get_ipython()
    return shell if shell is not None and shell.has_trait("kernel") else None


def is_hidden_by(shell: Any) -> bool:
    """Whether the style sheet hides an output of this shell beside a live panel.

    JupyterLab, Notebook and what is built of them do. Colab, Visual Studio Code and Kaggle's editor
    show widgets elsewhere on the page, and pages of Voila are not saved.
    """
    return not (
        "google.colab" in sys.modules
        or "__vsc_ipynb_file__" in shell.user_ns
        or os.environ.get("KAGGLE_KERNEL_RUN_TYPE") == "Interactive"
        or os.environ.get("SERVER_SOFTWARE", "").startswith("voila/")
    )
