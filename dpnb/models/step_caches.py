"""Caches of what a network computes at its steps, of which there are none here."""

from __future__ import annotations

from typing import Any, NoReturn

NO_CACHE = (
    "dpnb keeps nothing of a network's steps for later ones; leave the cache out, or attach a "
    "pipeline of diffusers that has it on, dpnb.attach(pipe)."
)


class WithoutStepCache:
    """A network that keeps nothing from step to step."""

    def enable_cache(self, config: Any) -> NoReturn:
        """Refuse.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(NO_CACHE)

    def disable_cache(self) -> None:
        """Nothing: there is none."""

    @property
    def is_cache_enabled(self) -> bool:
        """No."""
        return False
