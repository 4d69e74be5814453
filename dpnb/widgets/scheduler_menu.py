"""The menu of schedulers, which follows the pipeline until somebody chooses another one."""

from __future__ import annotations

from typing import Any

from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.pipelines.settings.plain_values import Pairs
from dpnb.widgets.field_widgets import menu
from dpnb.widgets.scheduler_choice import find_successors, short_scheduler_name


class SchedulerMenu:
    """Says by which scheduler is drawn: the pipeline's own, or one that somebody has chosen.

    What was chosen stays until it is drawn with; from then on the menu follows the pipeline again,
    whose scheduler cells and other panels may exchange.

    Args:
        pipe: whose schedulers they are.

    Attributes:
        menu: the widget.
    """

    def __init__(self, pipe: ExplorablePipeline) -> None:
        self._pipe = pipe
        self._shown = pipe.scheduler
        self._settings: Pairs | None = None
        self._is_chosen = False
        self.menu = menu("Scheduler", _list_options(self._shown), _name(self._shown))
        self.menu.observe(lambda _: self._take(), "value")

    @property
    def chosen(self) -> tuple[str | None, Pairs | None]:
        """The class, and all that is set there; `None` for settings as they are."""
        return self.menu.value, self._settings

    def choose(self, name: str | None, settings: Pairs | None) -> None:
        """Show a class that a request asks for, unless it cannot take over.

        Args:
            name: of the class; `None` leaves the menu as it is.
            settings: all that is set there; `None` for settings as they are.
        """
        if name in [value for _, value in self.menu.options]:
            self.menu.value = name
            self._settings, self._is_chosen = settings, True

    def note_use(self) -> None:
        """What was chosen is drawn with."""
        self._is_chosen = False

    def follow(self) -> None:
        """Show the pipeline's scheduler if it is another one, unless somebody has chosen one."""
        present = self._pipe.scheduler
        if present is self._shown:
            return
        self._shown, chosen = present, self.menu.value
        settings, is_chosen = self._settings, self._is_chosen
        options = _list_options(present)
        if tuple(self.menu.options) != tuple(options):
            self.menu.options = options
        is_kept = is_chosen and chosen in [value for _, value in options]
        self.menu.value = chosen if is_kept else _name(present)
        self._settings, self._is_chosen = settings if is_kept else None, is_kept

    def _take(self) -> None:
        """Somebody has chosen."""
        self._settings, self._is_chosen = None, True


def _name(scheduler: Any) -> str | None:
    return None if scheduler is None else type(scheduler).__name__


def _list_options(scheduler: Any) -> list[tuple[str, str]]:
    own = _name(scheduler)
    names = sorted({*([] if own is None else [own]), *find_successors(scheduler)})
    return [(short_scheduler_name(name), name) for name in names]
