"""The progress bar of a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm


def progress_bar(
    iterable: Iterable[Any] | None, total: int | None, settings: dict[str, Any]
) -> tqdm[Any]:
    """A bar over `iterable`, or one of `total` steps; a widget where a notebook can show it.

    Raises:
        ValueError: neither is given.
    """
    from tqdm.auto import tqdm

    if iterable is None and total is None:
        raise ValueError("a progress bar needs an iterable or a total; give one of them.")
    return tqdm(iterable, **{"total": total, **settings})
