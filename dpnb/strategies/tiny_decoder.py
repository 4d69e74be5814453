"""Final pictures by a tiny autoencoder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable
from weakref import WeakValueDictionary

import torch
from torch import Tensor
from typing_extensions import override

from dpnb.errors import DpnbError, StrategyError
from dpnb.models.autoencoder import AutoencoderKL, DecoderOutput
from dpnb.models.latent_scales import normalize_latents
from dpnb.models.tiny_autoencoder import AutoencoderTiny, find_tiny_beside, read_tiny_shape
from dpnb.stages import Stage
from dpnb.strategies.networks import Networks, Owner, absence_obstacle, networks_of
from dpnb.strategies.offload.calls import Method, replace_method
from dpnb.strategies.strategy import Effect, Slot, Strategy
from dpnb.strategies.undo import Undo

NOTHING_BESIDE = (
    "TinyDecoder finds no tiny autoencoder beside this model; name a folder or a repository that "
    'has one for its latents, as TinyDecoder("madebyollin/taesd") for Stable Diffusion 1 and 2.'
)

LOADED: WeakValueDictionary[Path, AutoencoderTiny] = WeakValueDictionary()
"""Those that stand beside models, and that somebody has."""


@runtime_checkable
class NamedOwner(Owner, Protocol):
    """An owner that knows what it was loaded from."""

    @property
    def name_or_path(self) -> str | None:
        """A folder, a file or a repository; `None` where nobody knows."""
        ...


@dataclass(frozen=True, repr=False)
class TinyDecoder(Strategy):
    """Decode pictures by a tiny autoencoder: in less time and memory, and with softer details.

    Bohan (2023), TAESD, https://github.com/madebyollin/taesd. Pictures are encoded as before, and
    tiling and slicing act on what decodes now.

    Args:
        source: a folder or a repository of an `AutoencoderTiny` for the model's latents; by default
            the one that stands in a folder `tiny_vae` beside the model.
    """

    source: str | None = None
    slot: ClassVar = Slot.DECODER
    effect: ClassVar = Effect.APPROXIMATE
    relieves: ClassVar = frozenset({Stage.DECODING})

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.source, str | None) or self.source == "":
            kind = ValueError if self.source == "" else TypeError
            raise kind(
                f"source is {self.source!r}; give the name of a folder or of a repository, or None "
                "for what stands beside the model."
            )

    @property
    @override
    def needs(self) -> tuple[type[object], ...]:
        return (AutoencoderKL,)

    @override
    def obstacle(self, networks: Networks) -> str | None:
        autoencoders = list(self._autoencoders(networks))
        if not autoencoders and not networks.can_exchange(*self.needs):
            none = "there is none here"
            return absence_obstacle("TinyDecoder", "an AutoencoderKL", networks, none)
        sources = [source for _, source in autoencoders] or [
            self.source or _beside(owner) for owner in networks.owners
        ]
        if None in sources:
            return NOTHING_BESIDE
        known = [owner.known_networks()[name] for owner, name in networks.exchangeable(self.needs)]
        foreign = ((vae, source) for vae in known for source in sources)
        pairs = ((vae, source) for vae, source in autoencoders or foreign if source is not None)
        return next(filter(None, (_mismatch(vae, source) for vae, source in pairs)), None)

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Let every autoencoder decode by another one.

        Raises:
            CheckpointError: what a repository has is none.
            HubError: it could not be fetched.
        """
        for vae, source in self._autoencoders(networks):
            if source is None:
                raise StrategyError(NOTHING_BESIDE)
            tiny = _load(source, vae.dtype)
            undo.set(networks, "extra_networks", (*networks.extra_networks, tiny))
            replace_method(vae, "decode", partial(_decode_by, tiny, vae), undo)

    def _autoencoders(self, networks: Networks) -> Iterator[tuple[AutoencoderKL, str | None]]:
        """Every autoencoder once, with what is to decode in its place."""
        seen = set[AutoencoderKL]()
        for owner in networks.owners:
            for _, network in networks_of(owner):
                if isinstance(network, AutoencoderKL) and network not in seen:
                    seen.add(network)
                    yield network, self.source or _beside(owner)


def has_tiny_beside(name: str | None) -> bool:
    """Whether a tiny autoencoder stands beside the model of this name."""
    return find_tiny_beside(name) is not None


def load_tiny_beside(name: str | None) -> AutoencoderTiny | None:
    """The one that stands beside a model, in float32; `None` where there is none.

    It is read once, as long as anybody has it.

    Args:
        name: what the model was loaded from.

    Raises:
        CheckpointError: something else is in its folder.
    """
    folder = find_tiny_beside(name)
    if folder is None:
        return None
    found = LOADED.get(folder)
    if found is None:
        found = LOADED[folder] = _load(str(folder), torch.float32)
    return found


def _load(source: str, dtype: torch.dtype) -> AutoencoderTiny:
    tiny: AutoencoderTiny = AutoencoderTiny.from_pretrained(source, dtype=dtype)
    return tiny.eval().requires_grad_(False)


def _beside(owner: Owner) -> str | None:
    name = owner.name_or_path if isinstance(owner, NamedOwner) else None
    folder = find_tiny_beside(name)
    return None if folder is None else str(folder)


def _mismatch(vae: Any, source: str) -> str | None:
    """Why what is named cannot decode the latents of `vae`, as a sentence, where that is known."""
    try:
        own, other = (vae.config.latent_channels, vae.scale), read_tiny_shape(source)
    except DpnbError as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        return (
            f"TinyDecoder finds no AutoencoderTiny in {source} ({reason}); name a folder or a "
            "repository that has one for this model's latents."
        )
    if other is None or own == other:
        return None
    return (
        f"TinyDecoder cannot use {source}, whose latents have {other[0]} channels and {other[1]} "
        f"pixels a side: this model's have {own[0]} and {own[1]}; name one that was made for them."
    )


def _decode_by(tiny: AutoencoderTiny, vae: AutoencoderKL, method: Method) -> Method:
    """The method by which `vae` decodes, answered by `tiny`."""

    @wraps(method)
    def decode(z: Tensor, return_dict: bool = True, generator: Any = None) -> Any:
        latents = normalize_latents(vae.config, z)
        pictures = vae.coder.decode(tiny.to(z.device), latents.to(tiny.dtype))
        return DecoderOutput(pictures.to(z.dtype)).as_asked(return_dict)

    return decode
