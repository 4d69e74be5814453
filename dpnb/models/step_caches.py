"""Caches of what a network computes at its steps, by the names that others have for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from dpnb.numbers import parse_number
from dpnb.switchboard import Switchboard, Switchboards

OTHER_CACHE = (
    "dpnb keeps what a transformer's blocks add, as FirstBlockCacheConfig(threshold=...) says, and "
    "what a UNet's deep blocks compute, pipe.strategies.enable(dpnb.StepCache(interval=2)); use "
    "one of these, or attach a pipeline of diffusers that has {name} on, dpnb.attach(pipe)."
)


@dataclass(frozen=True)
class FirstBlockCacheConfig:
    """Leave out the blocks of a transformer while its first one says nearly the same.

    Args:
        threshold: how much of what the first block adds may have changed, from 0.
    """

    threshold: float = 0.05

    def __post_init__(self) -> None:
        parse_number("threshold", self.threshold, least=0)


class OtherCacheConfig:
    """Settings of a cache that others have; `enable_cache` refuses it, and tells what there is.

    Args:
        values: have no effect.
        settings: kept by name, and without effect.
    """

    def __init__(self, *values: Any, **settings: Any) -> None:
        vars(self).update(settings)


class FasterCacheConfig(OtherCacheConfig):
    """Lv et al. (2024), FasterCache, arXiv:2410.19355."""


class MagCacheConfig(OtherCacheConfig):
    """Ma et al. (2025), MagCache, arXiv:2506.09045."""


class PyramidAttentionBroadcastConfig(OtherCacheConfig):
    """Zhao et al. (2024), Pyramid Attention Broadcast, arXiv:2408.12588."""


class TaylorSeerCacheConfig(OtherCacheConfig):
    """Liu et al. (2025), TaylorSeer, arXiv:2503.06923."""


class StepCacheSwitches:
    """What can be kept of a network's steps, and no longer kept."""

    part_name: ClassVar[str]

    def enable_cache(self, config: Any) -> None:
        """Reuse what the network has computed in former steps of a run; see `dpnb.StepCache`.

        Calls outside of a pipeline's run are computed whole.

        Args:
            config: `FirstBlockCacheConfig`, this package's or that of diffusers.

        Raises:
            NotImplementedError: it is a cache of another kind.
            StrategyError: the network has no blocks that may be left out.
        """
        name = type(config).__name__
        if name != FirstBlockCacheConfig.__name__:
            raise NotImplementedError(OTHER_CACHE.format(name=name))
        self._cache_switchboard.reuse_blocks(FirstBlockCacheConfig(config.threshold).threshold)

    def disable_cache(self) -> None:
        """Compute every step whole."""
        self._cache_switchboard.reuse_nothing()

    @property
    def is_cache_enabled(self) -> bool:
        """Whether something of former steps is reused."""
        return self._cache_switchboard.is_reusing

    @property
    def _cache_switchboard(self) -> Switchboard:
        return Switchboards.make(self, self.part_name)
