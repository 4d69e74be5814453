"""Adapters as changes of a pipeline's parameters, by the names of several trainers.

`diffusers` and `peft` name a layer as the network does, `kohya` with underscores and, for SDXL, as
Stability's code does, ComfyUI and XLabs as Black Forest Labs' code. All come out as the name of a
parameter in its network and its change.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor, nn
from typing_extensions import Self

from dpnb.errors import CheckpointError
from dpnb.loading.adapters.adapter_files import StoredAdapter
from dpnb.loading.adapters.layer_names import Layers, map_kohya_names
from dpnb.loading.adapters.lora_tensors import LayerTensors, TensorRole, group_by_layer
from dpnb.loading.adapters.peft_settings import AdapterSettings
from dpnb.nn.input_width import WidensInput
from dpnb.nn.weight_changes import Change, Difference, LowRank, Replacement
from dpnb.nn.wrapped_layers import plain_parameters

logger = logging.getLogger(__name__)

T = TypeVar("T", bound=Change)

PEFT = "base_model.model."
"""How names begin that peft writes, whatever the component."""

Changes: TypeAlias = dict[str, Change]
"""The name of a parameter in its network, and what is added to it."""

PREFIXES: Mapping[str, tuple[str, ...]] = {
    "lora_unet_": ("unet", "transformer"),
    "lora_transformer_": ("transformer",),
    "lora_te1_": ("text_encoder",),
    "lora_te2_": ("text_encoder_2",),
    "lora_te3_": ("text_encoder_3", "text_encoder_2"),
    "lora_te_": ("text_encoder",),
    "diffusion_model.": ("unet", "transformer"),
    "text_encoders.clip_l.transformer.": ("text_encoder",),
    "text_encoders.clip_g.transformer.": ("text_encoder_2",),
    "text_encoders.t5xxl.transformer.": ("text_encoder_3", "text_encoder_2"),
}
"""The beginnings of kohya's and ComfyUI's names, and the components that they mean: the first that
the pipeline has."""

_WHOLE = {
    TensorRole.WEIGHT,
    TensorRole.BIAS,
    TensorRole.WEIGHT_DIFFERENCE,
    TensorRole.BIAS_DIFFERENCE,
}


@dataclass(frozen=True)
class Place:
    """Where a layer of an adapter is.

    Attributes:
        component: the name of the network.
        layers: its layers; `None` where the network is not loaded.
        is_guessed: whether the file names the layer alone, and not the component.
    """

    component: str
    layers: Layers | None
    is_guessed: bool = False


@dataclass(frozen=True)
class Parameters:
    """What a network has.

    Attributes:
        shapes: by the parameter's name.
        input: the name of the weight that may come to take more channels, where there is one.
    """

    shapes: Mapping[str, torch.Size]
    input: str | None

    @classmethod
    def of(cls, network: nn.Module) -> Self:
        """Those of `network`, without layers that were put around its own."""
        shapes = {name: parameter.shape for name, parameter in plain_parameters(network)}
        is_wide = isinstance(network, WidensInput)
        return cls(shapes, f"{network.input_layer}.weight" if is_wide else None)


def parse_adapter(
    adapter: StoredAdapter, components: Mapping[str, nn.Module | None]
) -> dict[str, Changes]:
    """The changes that an adapter makes, by component.

    Layers that are named without their component are those of the UNet or the transformer, which
    is told in the log where their names are not peft's.

    Args:
        adapter: as `read_adapter` gives it.
        components: those that it may change; what it would change in one that is `None` is left
            out.

    Raises:
        CheckpointError: it is of another kind, made for other networks, or empty.
    """
    networks = _Networks(components)
    found: dict[str, Changes] = {}
    absent: dict[str, None] = {}
    guessed: dict[str, str] = {}
    layers = group_by_layer(adapter.tensors)
    # Where a file names a layer twice, as the network and as a trainer does, the former counts.
    for key, group in sorted(layers.items(), key=lambda item: "." in item[0]):
        place = networks.find(key)
        if place.layers is None:
            absent[place.component] = None
            continue
        settings = adapter.settings.get(place.component) or adapter.settings.get("")
        if place.is_guessed:
            guessed.setdefault(place.component, group.names[0])
        parameters = networks.parameters[place.component]
        for name, change in _changes(key, group, place.layers, settings, parameters):
            found.setdefault(place.component, {})[name] = change
    if not found:
        missing = (
            f"It changes {', '.join(absent)} alone, which is not loaded here" if absent else ""
        )
        raise CheckpointError(
            f"{missing or 'The adapter is empty'}; use a file that a trainer has written for what "
            "is loaded."
        )
    for component in absent:
        logger.warning("The adapter changes %s too, which is not loaded; left out.", component)
    for component, name in guessed.items():
        if not name.startswith(PEFT):
            logger.warning("The adapter names no component in %r; taken as %s's.", name, component)
    return found


class _Networks:
    """The parameters of several networks, by all the names that their layers have."""

    def __init__(self, components: Mapping[str, nn.Module | None]) -> None:
        self.absent = {name for name, network in components.items() if network is None}
        networks = {name: network for name, network in components.items() if network is not None}
        self.parameters = {name: Parameters.of(network) for name, network in networks.items()}
        self._names = {
            name: map_kohya_names(dict.fromkeys(key.rpartition(".")[0] for key in own.shapes))
            for name, own in self.parameters.items()
        }

    def find(self, key: str) -> Place:
        """What a layer's name in a file means."""
        for prefix, meant in PREFIXES.items():
            if key.startswith(prefix):
                return self._find_in(key, key.removeprefix(prefix), self._first(key, meant))
        component, _, rest = key.partition(".")
        if component in self.parameters or component in self.absent:
            return self._find_in(key, rest, component)
        if component.startswith("text_encoder"):
            self._first(key, (component,))
        denoisers = [name for name in ("unet", "transformer") if name in self.parameters]
        others = [name for name in self.parameters if name not in denoisers]
        for names in (denoisers, others):
            places = [p for name in names if (p := self._place(name, key)) is not None]
            if len(places) == 1:
                own = places[0].layers
                return replace(places[0], is_guessed=own is not None and key in own.names)
            if places:
                found = [place.component for place in places]
                raise CheckpointError(
                    f"The adapter changes {key!r}, which {' and '.join(found)} have; begin its "
                    f"names with the component's, as in {found[0]}.{key}."
                )
        raise self._unknown(key)

    def _find_in(self, key: str, rest: str, component: str) -> Place:
        if component in self.absent:
            return Place(component, None)
        if (place := self._place(component, rest)) is None:
            raise self._unknown(key)
        return place

    def _place(self, component: str, name: str) -> Place | None:
        plain = name.replace(".", "_")
        for spelled in (plain, plain.removeprefix("text_model_"), f"text_model_{plain}"):
            if (layers := self._names[component].get(spelled)) is not None:
                return Place(component, layers)
        return None

    def _first(self, key: str, meant: Iterable[str]) -> str:
        names = list(meant)
        known = [name for name in names if name in self.parameters or name in self.absent]
        loaded = [name for name in known if name in self.parameters]
        if not known:
            raise CheckpointError(
                f"The adapter changes {key!r}, a layer of {names[0]}, and this pipeline has no "
                "such component; it was made for another model."
            )
        return (loaded or known)[0]

    def _unknown(self, key: str) -> CheckpointError:
        known = ", ".join(self.parameters)
        return CheckpointError(
            f"The adapter changes {key!r}, and no component here ({known}) has such a layer; it "
            "was made for another model."
        )


def _changes(
    key: str,
    group: LayerTensors,
    layers: Layers,
    settings: AdapterSettings | None,
    parameters: Parameters,
) -> Iterator[tuple[str, Change]]:
    """The changes of one layer of a file, by the names of parameters."""
    tensors = group.tensors
    scale = 1.0
    if (product := _product(key, group)) is not None:
        names = (*layers.names, key, key.partition(".")[2])
        scale = _scale(names, product.down.shape[0], tensors.get(TensorRole.ALPHA), settings)
        yield from _split_change(key, "weight", product.scale_by(scale), layers, parameters)
    for role, parameter, change in _others(tensors, scale):
        if role is not TensorRole.UP_BIAS or product is not None:
            yield from _split_change(key, parameter, change, layers, parameters)


def _product(key: str, group: LayerTensors) -> LowRank | None:
    """The product of a layer's two matrices; `None` where it has neither."""
    tensors = group.tensors
    if TensorRole.EMBEDDING_DOWN in tensors and TensorRole.EMBEDDING_UP in tensors:
        down, up = tensors[TensorRole.EMBEDDING_UP].t(), tensors[TensorRole.EMBEDDING_DOWN].t()
    elif TensorRole.DOWN in tensors and TensorRole.UP in tensors:
        down, up = tensors[TensorRole.DOWN], tensors[TensorRole.UP]
    elif tensors.keys() & _WHOLE:
        return None
    else:
        raise CheckpointError(
            f"The adapter has only a part of {key!r} ({', '.join(group.names)}); use a complete "
            "file."
        )
    if down.shape[0] != up[0].numel():
        raise CheckpointError(
            f"The adapter's two matrices for {key!r} have the shapes {list(down.shape)} and "
            f"{list(up.shape)}, which differ in rank; use a complete file."
        )
    return LowRank(down, up)


def _others(
    tensors: Mapping[TensorRole, Tensor], scale: float
) -> Iterator[tuple[TensorRole, str, Change]]:
    """The changes beside the product, and the parameters that they are for."""
    for role, tensor in tensors.items():
        match role:
            case TensorRole.UP_BIAS:
                yield role, "bias", Difference(tensor, scale)
            case TensorRole.WEIGHT_DIFFERENCE:
                yield role, "weight", Difference(tensor)
            case TensorRole.BIAS_DIFFERENCE:
                yield role, "bias", Difference(tensor)
            case TensorRole.WEIGHT:
                yield role, "weight", Replacement(tensor)
            case TensorRole.BIAS:
                yield role, "bias", Replacement(tensor)


def _scale(
    names: Iterable[str], rank: int, alpha: Tensor | None, settings: AdapterSettings | None
) -> float:
    """Alpha over the rank, where either the file or its settings give an alpha."""
    if alpha is not None:
        return alpha.item() / rank
    return 1.0 if settings is None else settings.scale(names, rank)


def _split_change(
    key: str, parameter: str, change: T, layers: Layers, parameters: Parameters
) -> Iterator[tuple[str, T]]:
    """A change as those of the parameters whose rows it is for."""
    names, shapes = [f"{name}.{parameter}" for name in layers.names], parameters.shapes
    if missing := [name for name in names if name not in shapes]:
        raise CheckpointError(
            f"The adapter changes {missing[0]}, and that layer has no {parameter} here, to which "
            "dpnb adds none; use a file that was trained without it, or for this model."
        )
    rows = [shapes[name][0] for name in names]
    whole = torch.Size([sum(rows), *shapes[names[0]][1:]])
    if not (change.fits(whole) or (names == [parameters.input] and _fits_input(change, whole))):
        raise _misfit(key, change, whole)
    if isinstance(change, LowRank) and not change.fits(whole):
        _tell_width(names[0], change.shape[1], whole[1])
    pieces = change.split_rows([rows[0] // 2] * 2 if layers.is_swapped else rows)
    if layers.is_swapped:
        yield names[0], pieces[1].join_rows(pieces[:1])
    else:
        yield from zip(names, pieces, strict=True)


def _fits_input(change: Change, shape: torch.Size) -> bool:
    """Whether a change is for more or fewer channels than a network's first layer takes.

    Control LoRAs let it see a picture beside the latents, whose channels come after theirs.
    """
    return isinstance(change, LowRank) and change.shape[0] == shape[0]


def _tell_width(name: str, columns: int, present: int) -> None:
    layer = name.rpartition(".")[0]
    if columns > present:
        said = "%s takes %d channels and the adapter %d: it is widened while the adapter is on."
    else:
        said = "%s takes %d channels and the adapter %d: it leaves the last ones as they are."
    logger.info(said, layer, present, columns)


def _misfit(key: str, change: Change, shape: torch.Size) -> CheckpointError:
    return CheckpointError(
        f"The adapter changes {key!r} by {change.size}, and that has weights {list(shape)}; it was "
        "made for another model."
    )
