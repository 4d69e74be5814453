"""How the autoencoder is run: in strips or tiles, and one picture after the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from typing_extensions import override

from dpnb.models.autoencoder import Autoencoder
from dpnb.models.coders import SlicedCoder, TiledCoder
from dpnb.models.tiling.blended_tiles import latents_per_side
from dpnb.stages import Stage
from dpnb.strategies.networks import Networks, absence_obstacle
from dpnb.strategies.settings import hints
from dpnb.strategies.strategy import Effect, Slot, Strategy
from dpnb.strategies.undo import Undo


@dataclass(frozen=True, repr=False)
class VaeTiling(Strategy):
    """Decode and encode in strips of rows: the same picture in less memory, at any height.

    Args:
        tile: rows of a strip; a number that suits the picture by default. With `blended`, the side
            of a tile in pixels.
        spill: whether feature maps wait outside the device, so that its memory holds a few strips
            at any height.
        blended: code overlapping tiles by themselves and blend their edges. Tiles do not know of
            one another, which shifts their tone.
    """

    tile: int | None = field(default=None, metadata=hints(low=16, high=1024, step=8))
    spill: bool = False
    blended: bool = False
    slot: ClassVar = Slot.CODER
    relieves: ClassVar = frozenset({Stage.ENCODING, Stage.DECODING})

    @override
    def __post_init__(self) -> None:
        self._coder()
        super().__post_init__()

    @property
    @override
    def effect(self) -> Effect:
        return Effect.APPROXIMATE if self.blended else Effect.EXACT

    @property
    @override
    def needs(self) -> tuple[type[object], ...]:
        return (Autoencoder,)

    @override
    def obstacle(self, networks: Networks) -> str | None:
        autoencoders = list(networks.modules_of(Autoencoder))
        if not autoencoders and not networks.can_exchange(Autoencoder):
            return _absence("VaeTiling", networks)
        if self.blended and self.tile is not None:
            for vae in autoencoders:
                try:
                    latents_per_side(
                        self.tile, self.tile, scale=vae.scale, trained=vae.config.sample_size
                    )
                except ValueError as error:
                    return str(error)
        return None

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Fill the slot of every autoencoder."""
        for vae in networks.modules_of(Autoencoder):
            undo.set(vae, "coder", self._coder())

    def _coder(self) -> TiledCoder:
        return TiledCoder(self.tile, self.spill, self.blended)


@dataclass(frozen=True, repr=False)
class VaeSlicing(Strategy):
    """Decode and encode the pictures of a batch one after the other."""

    slot: ClassVar = Slot.CODER_WRAPPER
    relieves: ClassVar = frozenset({Stage.ENCODING, Stage.DECODING})

    @property
    @override
    def needs(self) -> tuple[type[object], ...]:
        return (Autoencoder,)

    @override
    def obstacle(self, networks: Networks) -> str | None:
        is_there = next(networks.modules_of(Autoencoder), None) is not None
        if not is_there and not networks.can_exchange(Autoencoder):
            return _absence("VaeSlicing", networks)
        return None

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Wrap what fills the slot of every autoencoder."""
        for vae in networks.modules_of(Autoencoder):
            undo.set(vae, "coder", SlicedCoder(vae.coder))


def _absence(what: str, networks: Networks) -> str:
    return absence_obstacle(what, "an autoencoder", networks, "there is none here")
