"""Whether attention computes the same from joined projections: tried on a twin of each kind."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from dpnb.strategies.fused_attributes import FusedAttributes, Ways, find_processor
from dpnb.strategies.network_twins import NetworkTwin, try_apart

Kind: TypeAlias = Hashable
"""What layers have in common that compute in the same way."""

SETTINGS = (int, float, str, bool, type(None), tuple)
"""Types of attributes that are settings."""

TOLERANCE = 1e-3
"""How far results may be apart, as a share of the largest number."""

TOKENS, OTHERS = 6, 4
"""Tokens of the picture, and of the other sequence."""

BARRED = -1e4
"""What is added to the score of a token that nobody is to see."""

NAME = "{name}"
"""Stands in a fault for the name of the component."""

LEAVE = "leave ComponentFusion out."


@dataclass(frozen=True)
class FusionTrial:
    """What became of a network's attention when its projections were joined.

    Attributes:
        kinds: of the layers that were tried.
        fault: why the projections must not be joined, as a sentence about `NAME`.
        ways: of kinds that compute the same in some ways alone: those; all calls of other ways are
            left to separate projections.
    """

    kinds: frozenset[Kind]
    fault: str | None = None
    ways: Mapping[Kind, Ways] = field(default_factory=dict)


def describe_layer(layer: nn.Module) -> Kind:
    """What a layer of attention is, but for its values and where they are."""
    return (type(find_processor(layer)), *(_describe(module) for module in layer.modules()))


def _describe(module: nn.Module) -> Hashable:
    settings = {key: v for key, v in vars(module).items() if type(v) in SETTINGS}
    own = {**module._parameters, **module._modules}
    present = frozenset(key for key, value in own.items() if value is not None)
    return type(module), present, repr(sorted(settings.items()))


def try_fusion(
    network: nn.Module, layers: Collection[nn.Module], fuse: Callable[[nn.Module], object]
) -> FusionTrial:
    """Join the projections in a twin of `network`, and let a layer of each kind compute.

    Args:
        network: is left as it is, in whatever state; no random numbers are drawn.
        layers: all its layers of attention.
        fuse: joins the projections of the network that it is given.

    Raises:
        ValueError: a weight has no shape at present.
    """
    chosen = {describe_layer(layer): layer for layer in layers}
    with try_apart():
        twin = NetworkTwin(network, chosen.values())
        attributes = {k: FusedAttributes(twin.twins[layer]) for k, layer in chosen.items()}
        try:
            fuse(twin.network)
        except Exception as error:
            reason = str(error).rstrip(".") or type(error).__name__
            fault = f"The {NAME} cannot join its projections ({reason}); {LEAVE}"
            return FusionTrial(frozenset(chosen), fault)
        tries = {kind: _Try(fused) for kind, fused in attributes.items()}
    ways = {kind: one.served for kind, one in tries.items() if one.served != one.accepted}
    return FusionTrial(frozenset(chosen), _find_fault(tries.values()), ways)


def _find_fault(tries: Collection[_Try]) -> str | None:
    faults = (one.find_fault() for one in tries)
    fault = next(filter(None, faults), None)
    if fault is None and not any(one.uses_joined for one in tries):
        kinds = sorted({one.processor_name for one in tries if one.is_joined})
        if not kinds:
            return f"The {NAME} joins no projections where it is told to; {LEAVE}"
        return (
            f"The attention of the {NAME} is computed by {' and '.join(kinds)}, which reads "
            f"separate projections also where they are joined; {LEAVE}"
        )
    return fault


class _Try:
    """What a layer computed from separate projections, and from joined ones.

    Attributes:
        accepted: the ways in which it can be called.
        served: those of them in which joined projections make the same.
        is_joined: whether it has got any.
        uses_joined: whether these computed something; also where none could be tried.
    """

    def __init__(self, attributes: FusedAttributes) -> None:
        attributes.note_changes()
        self._old, self._new = attributes.processors
        self.accepted: Ways = frozenset()
        self.served: Ways = frozenset()
        self.is_joined = bool(attributes.joined_layers)
        self.uses_joined = False
        if self._is_alike and _is_harmless(self._new):
            for layer in attributes.joined_layers:
                layer.register_forward_hook(self._note_use)
            self._try(attributes)
        self.uses_joined |= self.is_joined and not self.accepted

    @property
    def processor_name(self) -> str:
        """The class of what computes the attention."""
        return type(self._new).__name__

    def _note_use(self, *_: object) -> None:
        self.uses_joined = True

    @property
    def _is_replaced(self) -> bool:
        return self._old is not self._new

    @property
    def _is_alike(self) -> bool:
        """Whether what computes the attention knows all that what did before knew."""
        keeps = isinstance(self._old, nn.Module) or bool(vars(self._old))
        more = keeps or not _arguments(self._old) <= _arguments(self._new)
        return not (self._is_replaced and more)

    def _try(self, attributes: FusedAttributes) -> None:
        for way in (False, True):
            pairs = []
            for given in _list_calls(attributes.layer, way):
                attributes.part()
                expected = _compute(attributes.layer, given)
                attributes.join()
                if expected is not None:
                    pairs.append((expected, _compute(attributes.layer, given)))
            if pairs:
                self.accepted |= {way}
            if pairs and all(_agree(*pair) for pair in pairs):
                self.served |= {way}

    def find_fault(self) -> str | None:
        """Why the layer must not compute from joined projections."""
        old = type(self._old).__name__
        if not self._is_alike:
            return (
                f"The attention of the {NAME} is computed by {old}, in whose place fused "
                f"projections put another; {LEAVE}"
            )
        if self.served or not (self.accepted or self._is_replaced):
            return None
        what = "does not compute the same" if self.accepted else "could not be tried"
        return f"The attention of the {NAME}, of {old}, {what} from joined projections; {LEAVE}"


def _arguments(processor: object) -> set[str]:
    kind: Any = type(processor)
    parameters = inspect.signature(kind.__call__).parameters.values()
    return {one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD} - {"self"}


def _is_harmless(processor: object) -> bool:
    """Whether calling a copy of a processor leaves no trace in the processor."""
    is_module = isinstance(processor, nn.Module)
    return is_module or all(type(value) in SETTINGS for value in vars(processor).values())


def _list_calls(layer: nn.Module, with_others: bool) -> Iterator[dict[str, Tensor]]:
    """Arguments of calls: without a mask, and with one."""
    generator = torch.Generator().manual_seed(1)
    width = _width(layer, "to_q")
    others = _width(layer, "add_k_proj") or _width(layer, "to_k")
    if width is None or (with_others and others is None):
        return
    given = {"hidden_states": torch.randn(1, TOKENS, width, generator=generator)}
    if with_others:
        noise = torch.randn(1, OTHERS, others or 0, generator=generator)
        given["encoder_hidden_states"] = noise
    yield given
    mask = torch.zeros(1, 1, OTHERS if with_others else TOKENS)
    mask[..., -1] = BARRED
    yield given | {"attention_mask": mask}


def _width(layer: nn.Module, projection: str) -> int | None:
    child = layer._modules.get(projection)
    width = None if child is None else vars(child).get("in_features")
    return width if type(width) is int else None


def _compute(layer: nn.Module, given: Mapping[str, Tensor]) -> list[Tensor] | None:
    """What a layer makes; `None` where it fails, in whatever way code of others may."""
    try:
        made = layer(**{key: value.clone() for key, value in given.items()})
    except Exception:
        return None
    return [leaf for leaf in tree_leaves(made) if isinstance(leaf, Tensor)]


def _agree(expected: list[Tensor], found: list[Tensor] | None) -> bool:
    if found is None or [t.shape for t in expected] != [t.shape for t in found]:
        return False
    return all(
        float((one - other).abs().max()) <= TOLERANCE * float(one.abs().max())
        for one, other in zip(expected, found, strict=True)
    )
