"""What components that dpnb did not write can do by themselves, as switches that come off exactly.

Such a component has methods that change it, as `enable_tiling` does; what they have changed is put
back by the log that every strategy has, and not by the component's own methods of taking it back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from inspect import unwrap
from types import CodeType
from typing import Any, ClassVar

from torch import nn
from typing_extensions import override

from dpnb.models.model import Model
from dpnb.nn.compiled import plain_network
from dpnb.stages import Stage
from dpnb.strategies.component_fusion import (
    FUSE,
    fusion_obstacle,
    join_projections,
    list_fusible_layers,
)
from dpnb.strategies.component_tiles import tile_obstacle, use_tiles
from dpnb.strategies.freeu import FreeUFactors
from dpnb.strategies.networks import Networks
from dpnb.strategies.reversible_calls import call_reversibly
from dpnb.strategies.settings import hints
from dpnb.strategies.strategy import Effect, Slot, Strategy
from dpnb.strategies.undo import Undo


@dataclass(frozen=True, repr=False)
class ComponentTiling(Strategy):
    """Let an autoencoder that is not dpnb's decode and encode in its own overlapping tiles.

    Tiles do not know of one another, and their edges are blended. Pictures that are no larger than
    a tile stay whole. Whether the tiles fit together is tried beforehand, on a copy without values;
    an autoencoder that can only decode in tiles encodes pictures whole.

    Args:
        tile: the side of a tile in pixels, or its height where that is another; the autoencoder's
            own by default. Tiles overlap by the same share of it.
    """

    tile: int | None = field(default=None, metadata=hints(low=64, high=1024, step=32))
    slot: ClassVar = Slot.CODER
    effect: ClassVar = Effect.APPROXIMATE
    relieves: ClassVar = frozenset({Stage.ENCODING, Stage.DECODING})

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tile is not None and (type(self.tile) is not int or self.tile < 1):
            raise ValueError(f"tile is {self.tile!r}; it is a number of pixels such as 256.")

    @override
    def obstacle(self, networks: Networks) -> str | None:
        coders = list(_able(networks, "enable_tiling", "use_tiling"))
        if not coders:
            return _missing("ComponentTiling", "an autoencoder with tiles", "VaeTiling", networks)
        reasons = (tile_obstacle(name, coder, self.tile) for name, coder in coders)
        return next(filter(None, reasons), None)

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Call the method of every autoencoder that has it."""
        for _, coder in _able(networks, "enable_tiling", "use_tiling"):
            call_reversibly(coder, partial(use_tiles, coder, self.tile), undo)


@dataclass(frozen=True, repr=False)
class ComponentSlicing(Strategy):
    """Let an autoencoder that is not dpnb's code the pictures of a batch one after the other."""

    slot: ClassVar = Slot.CODER_WRAPPER
    relieves: ClassVar = frozenset({Stage.ENCODING, Stage.DECODING})

    @override
    def obstacle(self, networks: Networks) -> str | None:
        if next(_able(networks, "enable_slicing", "use_slicing"), None) is None:
            what = "an autoencoder that slices batches"
            return _missing("ComponentSlicing", what, "VaeSlicing", networks)
        return None

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Call the method of every autoencoder that has it."""
        for _, coder in _able(networks, "enable_slicing", "use_slicing"):
            kind: Any = type(coder)
            call_reversibly(coder, partial(kind.enable_slicing, coder), undo)


@dataclass(frozen=True, repr=False)
class ComponentFusion(Strategy):
    """Let components that are not dpnb's compute query, key and value by one matrix.

    It is made of theirs, which stay beside it: while this is on, these weights are held twice.
    Whether attention computes the same from it is tried beforehand, on layers of the same kind with
    values of their own; calls that it could not serve are computed from theirs.
    """

    slot: ClassVar = Slot.PROJECTION

    @override
    def obstacle(self, networks: Networks) -> str | None:
        fusing = list(_able(networks, FUSE))
        fusible = [(name, network) for name, network in fusing if list_fusible_layers(network)]
        if not fusible:
            what = "a component that fuses its projections"
            return _missing("ComponentFusion", what, "QKVFusion", networks)
        reasons = [fusion_obstacle(name, network) for name, network in fusible]
        return None if None in reasons else reasons[0]

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Call the method of every component that has it and may use it."""
        for name, network in _able(networks, FUSE):
            if list_fusible_layers(network) and fusion_obstacle(name, network) is None:
                join_projections(network, undo)


@dataclass(frozen=True, repr=False)
class ComponentFreeU(FreeUFactors):
    """Let a UNet that is not dpnb's strengthen its backbone and weaken its skips.

    Si et al. (2023), FreeU, arXiv:2309.11497.

    Args:
        s1: factor of the skips' lowest frequencies in the first up-block.
        s2: likewise in the second.
        b1: factor of the backbone's first half of channels in the first up-block.
        b2: likewise in the second.
    """

    label: ClassVar = "Component FreeU"

    @override
    def obstacle(self, networks: Networks) -> str | None:
        if not any(True for _, unet in _able(networks, "enable_freeu") if _has_freeu(unet)):
            return _missing("ComponentFreeU", "a UNet with FreeU", "FreeU", networks)
        return None

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Call the method of every UNet that has it."""
        factors = {"s1": self.s1, "s2": self.s2, "b1": self.b1, "b2": self.b2}
        for _, unet in _able(networks, "enable_freeu"):
            kind: Any = type(unet)
            call_reversibly(unet, partial(kind.enable_freeu, unet, **factors), undo)


def _able(
    networks: Networks, method: str, attribute: str | None = None
) -> Iterator[tuple[str, nn.Module]]:
    """The foreign networks whose class has a method, and that say by an attribute that it serves.

    Many classes inherit the methods of autoencoders and refuse to be told.
    """
    for name, network in networks.foreign_items():
        plain = plain_network(network)
        if method in dir(type(plain)) and (attribute is None or attribute in vars(plain)):
            yield name, plain


def _has_freeu(unet: nn.Module) -> bool:
    """Whether a block of a UNet computes FreeU; some kinds are told of it in vain."""
    kinds = {type(module) for module in unet.modules()}
    return any("apply_freeu" in _names_in(unwrap(kind.forward).__code__) for kind in kinds)


def _names_in(code: CodeType) -> set[str]:
    """What a function and those within it refer to by name."""
    inner = [_names_in(one) for one in code.co_consts if isinstance(one, CodeType)]
    return set(code.co_names).union(*inner)


def _missing(kind: str, what: str, ours: str, networks: Networks) -> str:
    own = any(isinstance(network, Model) for _, network in networks.items())
    serves = f"; use {ours}, which serves dpnb's own networks" if own else "; there is none here"
    return f"{kind} needs {what}, written by others{serves}."
