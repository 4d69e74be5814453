"""The dtype that networks compute in, as a switch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from dpnb.nn.compiled import plain_network
from dpnb.nn.quantized import lasting_quantization_of
from dpnb.stages import Stage
from dpnb.strategies.dtype_border import DtypeBorder
from dpnb.strategies.named_components import absent_components_obstacle, read_components
from dpnb.strategies.networks import Networks, is_foreign, valueless_obstacle
from dpnb.strategies.offload.blocks import group_tied_tensors
from dpnb.strategies.precise_parts import find_precise_tensors, overflows
from dpnb.strategies.settings import hints
from dpnb.strategies.storage import Widening
from dpnb.strategies.strategy import Effect, Slot, Strategy
from dpnb.strategies.undo import Undo

PRECISIONS = {
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float32": torch.float32,
}
COMPUTED = (*PRECISIONS.values(), torch.float64)
"""What weights may be of that are cast: all that networks compute in."""


@dataclass(frozen=True, repr=False)
class Precision(Strategy):
    """Let networks compute in another dtype, and hold their weights in it.

    Tensors are cast where they enter a network and leave it: latents and embeddings keep their
    dtype, so that this may go on and off between two steps. What a network says must stay in
    float32 does, an autoencoder that overflows in float16 keeps its dtype, and what is quantized is
    left alone. The plain weights wait outside the device, or in the file that they were mapped
    from, and come back exactly.

    Args:
        dtype: `"bfloat16"`, `"float16"` or `"float32"`.
        components: the components that compute in it; all of them by default.
    """

    dtype: str = field(default="bfloat16", metadata=hints(choices=tuple(PRECISIONS)))
    components: tuple[str, ...] = ()
    slot: ClassVar = Slot.PRECISION
    effect: ClassVar = Effect.APPROXIMATE
    relieves: ClassVar = frozenset(Stage)

    @override
    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", str(self.dtype).removeprefix("torch."))
        read_components(self)
        if self.dtype not in PRECISIONS:
            raise ValueError(f"dtype is {self.dtype!r}; use one of {', '.join(PRECISIONS)}.")

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype."""
        return PRECISIONS[self.dtype]

    @override
    def obstacle(self, networks: Networks) -> str | None:
        absent = absent_components_obstacle("Precision names", self.components, networks)
        if absent is not None:
            return absent
        for name, network in networks.items(*self.components):
            if (reason := valueless_obstacle(name, network)) is not None:
                return reason
            if self.components and (reason := self._objection(name, network)) is not None:
                return reason
        if next(self._casts(networks), None) is None:
            return (
                f"No weight here would be cast to {self.dtype}; choose another dtype, or leave "
                "Precision out."
            )
        return _device_obstacle(networks.device, self.torch_dtype)

    def _objection(self, name: str, network: nn.Module) -> str | None:
        """Why a component that is named cannot compute so."""
        if (stored := lasting_quantization_of(network)) is not None:
            return (
                f"{name} holds {stored} weights, which cannot be cast; leave it out of Precision, "
                "or load it without quantization_config."
            )
        if overflows(network, self.torch_dtype):
            return (
                f"{name} overflows in {self.dtype}, as its settings say (force_upcast); use "
                "bfloat16, or leave it out of Precision."
            )
        return None

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Cast the weights, and all that enters and leaves the networks."""
        for network, tensors in list(self._casts(networks)):
            outside, paths = _dtype_of(network, tensors[0]), networks.paths_into(network)
            if is_foreign(network):
                tensors = self._leave_first(networks, network, tensors, undo)
            witness = next((tensor for tensor in tensors if tensor.ndim == 1), tensors[0])
            for tied in group_tied_tensors(tensors):
                undo.keep_data(tied, networks.set_aside(tied[0].data))
                cast = tied[0].data.to(self.torch_dtype)
                for tensor in tied:
                    tensor.data = cast
            DtypeBorder(network, outside, witness).open(paths, undo)

    def _leave_first(
        self, networks: Networks, network: nn.Module, tensors: list[Tensor], undo: Undo
    ) -> list[Tensor]:
        """All but the first weight, which is cast while its layer computes.

        The code of pipelines may take its dtype for that of the network. One that keeps its dtype
        anyway is left alone.
        """
        first = next(network.parameters(), None)
        if all(tensor is not first for tensor in tensors):
            return tensors
        layers = [one for one in network.modules() if one._parameters.get("weight") is first]
        if len(layers) == 1 and len(tensors) > 1:
            casting = Widening(self.torch_dtype)
            undo.set(networks, "stored_small", networks.stored_small | {layers[0]})
            undo.before(layers[0], casting.widen)
            undo.after(layers[0], casting.narrow, always_call=True)
            return [tensor for tensor in tensors if tensor is not first]
        return tensors

    def _casts(self, networks: Networks) -> Iterator[tuple[nn.Module, list[Tensor]]]:
        """The networks with the parameters and buffers that are cast, if there are any."""
        for name, network in networks.items(*self.components):
            if self._objection(name, network) is None:
                tensors = list(self._tensors(network))
                if tensors:
                    yield network, tensors

    def _tensors(self, network: nn.Module) -> Iterator[Tensor]:
        """Those of a network that would be cast; buffers that are not saved keep their dtype."""
        saved: dict[int, Tensor] = {id(p): p for p in network.parameters()}
        for module in network.modules():
            for name, buffer in module._buffers.items():
                if buffer is not None and name not in module._non_persistent_buffers_set:
                    saved[id(buffer)] = buffer
        kept = find_precise_tensors(plain_network(network), self.torch_dtype)
        for key, tensor in saved.items():
            is_other = tensor.dtype in COMPUTED and tensor.dtype != self.torch_dtype
            if is_other and tensor.numel() and key not in kept:
                yield tensor


def _dtype_of(network: nn.Module, tensor: Tensor) -> torch.dtype:
    """What a network says, where it says which dtype it has; else that of one of its tensors."""
    said: Any = plain_network(network)
    if "dtype" in dir(said):
        found: torch.dtype = said.dtype
        return found
    return tensor.dtype


def _device_obstacle(device: torch.device, dtype: torch.dtype) -> str | None:
    """Why a device cannot compute in a dtype, as a sentence."""
    name = str(dtype).removeprefix("torch.")
    if device.type == "cuda" and dtype == torch.bfloat16:
        with torch.cuda.device(device):
            is_able = torch.cuda.is_bf16_supported(including_emulation=False)
        return None if is_able else f"{device} has no {name}; use float16, or leave Precision out."
    try:
        _try_dtype(device, dtype)
    except (RuntimeError, TypeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        return f"{device} does not compute in {name} ({reason}); use another dtype."
    return None


@cache
def _try_dtype(device: torch.device, dtype: torch.dtype) -> None:
    """Compute what networks do; where that succeeds, it is not tried again."""
    one = torch.ones(1, 4, 4, 4, device=device, dtype=dtype)
    F.group_norm(F.conv2d(one, one[..., :1, :1]), 1).softmax(dim=1) @ one
