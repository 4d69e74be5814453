"""Placing a component on a device, with parts of it offloaded, by accelerate's hooks."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial, wraps
from pathlib import Path
from tempfile import gettempdir
from typing import Any
from uuid import uuid4
from weakref import finalize

import torch
from torch import Tensor, nn

from dpnb.nn.quantized import plain_tensors
from dpnb.strategies.offload.calls import Method, replace_methods
from dpnb.strategies.offload.reached_parts import find_read_tensors
from dpnb.strategies.offload.source_paths import SourcePath
from dpnb.strategies.undo import Undo

DISK = "disk"

READING = (nn.MultiheadAttention,)
"""Layers that read the weights of their children, which they do not call."""


@dataclass(frozen=True, eq=False)
class ComponentPlacement:
    """Where a component and its parts belong.

    Args:
        name: of the component.
        network: the component.
        device: where it computes.
        offloaded: part whose weights wait elsewhere → `"cpu"` or `"disk"`; `""` is all of it.
    """

    name: str
    network: nn.Module
    device: torch.device
    offloaded: Mapping[str, str] = field(default_factory=dict)


def dispatch(
    placement: ComponentPlacement,
    output_device: torch.device,
    folder: str | None,
    is_excluded: Callable[[Tensor], bool],
    undo: Undo,
    paths: frozenset[SourcePath] = frozenset(),
) -> list[nn.Parameter]:
    """Move a component's weights to where they belong, and its inputs and outputs along.

    A layer whose weights are needed while it does not compute stays on the component's device.

    Args:
        placement: where it belongs.
        output_device: where its outputs go.
        folder: where weights on the disk are written; `None` for a temporary one.
        is_excluded: whether somebody else looks after a tensor.
        undo: takes the inverse of every edit.
        paths: that the code of the pipeline follows from the component on.

    Returns:
        The parameters that layers of it have lost; see `free_lost_parameters`.
    """
    read = find_read_tensors(placement.network, paths) if placement.offloaded else set()
    lost: list[nn.Parameter] = []
    for path, home in placement.offloaded.items():
        part = placement.network.get_submodule(path)
        weights = _store_weights(placement.name, path, part, home, folder, undo)
        for name, module in _layers_of(part):
            own = [p for p in _parameters_of(module).values() if not is_excluded(p)]
            is_away = any(p.is_meta for p in own)  # with another component that has this layer too
            if own and not is_away and read.isdisjoint(map(id, own)):
                prefix = f"{name}." if name else ""
                lost += _offload_layer(module, placement.device, weights, prefix, undo)
    for tensor in _tensors(placement.network):
        if not tensor.is_meta and not is_excluded(tensor):
            undo.callback(_move, tensor, tensor.device)
            _move(tensor, placement.device)
    if placement.device != output_device:
        _move_inputs_and_outputs(placement.network, placement.device, output_device, undo)
    return lost


def free_lost_parameters(lost: Iterable[nn.Parameter], networks: Iterable[nn.Module]) -> None:
    """Free the memory of parameters that no layer has any more.

    Args:
        lost: parameters that a layer has lost; another one may have them still.
        networks: all components.
    """
    in_use = {id(parameter) for network in networks for parameter in network.parameters()}
    for parameter in lost:
        if id(parameter) not in in_use:
            parameter.data = parameter.new_empty(0)


def _store_weights(
    name: str, path: str, part: nn.Module, home: str, folder: str | None, undo: Undo
) -> Mapping[str, Tensor]:
    """The weights of a part by name, kept on the host or written to the disk."""
    given = part.state_dict().items()
    state = {key: tensor.detach() for key, tensor in given if not tensor.is_meta}
    if home != DISK:
        return {key: tensor.to("cpu") for key, tensor in state.items()}
    from accelerate.utils import OffloadedWeightsLoader, offload_state_dict

    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
    # A folder of its own: what else is in the one that was given stays when this is undone.
    place = Path(folder or gettempdir()) / f"dpnb-{name}-{uuid4().hex}"
    remove = finalize(part, shutil.rmtree, place, ignore_errors=True)  # or at the end of Python
    undo.callback(remove)
    place.mkdir(mode=0o700)
    offload_state_dict(place, state)
    written: Mapping[str, Tensor] = OffloadedWeightsLoader(save_folder=place)
    return written


def _layers_of(part: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules of a part by name, but for those whose weights another one reads."""
    read = {
        child
        for module in part.modules()
        if isinstance(module, READING)
        for child in module.modules()
        if child is not module
    }
    return ((name, module) for name, module in part.named_modules() if module not in read)


def _parameters_of(module: nn.Module) -> dict[str, nn.Parameter]:
    """What a module computes with when it is called, by name."""
    return dict(module.named_parameters(recurse=isinstance(module, READING)))


def _offload_layer(
    module: nn.Module, device: torch.device, weights: Mapping[str, Tensor], prefix: str, undo: Undo
) -> list[nn.Parameter]:
    """Let a layer's own weights come in when it computes, and go again; those that it has lost."""
    from accelerate.hooks import AlignDevicesHook
    from accelerate.utils import PrefixedDataset

    former = _parameters_of(module)
    hook = AlignDevicesHook(
        device,
        offload=True,
        weights_map=PrefixedDataset(weights, prefix),
        place_submodules=isinstance(module, READING),
    )
    undo.callback(_restore_layer, module, hook, former)
    hook.init_hook(module)
    visits = _Visits(hook)
    # Weights have to come before any other hook of the layer sees them, and go after.
    undo.before(module, visits.enter, prepend=True, with_kwargs=True)
    undo.after(module, lambda module, _, output: visits.leave(module, output), always_call=True)
    if not type(module).__module__.startswith("torch."):
        replace_methods(module, partial(visits.around, module), undo)
    return [p for name, p in former.items() if _parameters_of(module)[name] is not p]


class _Visits:
    """Brings the weights of a layer in while any of its methods computes.

    Args:
        hook: of accelerate, which moves them.
    """

    def __init__(self, hook: Any) -> None:
        self._hook = hook
        self._count = 0

    def enter(self, module: nn.Module, args: Any = (), kwargs: Any = None) -> Any:
        """A method begins; what it is given, on the layer's device."""
        self._count += 1
        if self._count > 1:
            return args, kwargs or {}
        return self._hook.pre_forward(module, *args, **(kwargs or {}))

    def leave(self, module: nn.Module, output: Any = None) -> Any:
        """It is over, or has failed."""
        self._count -= 1
        return output if self._count else self._hook.post_forward(module, output)

    def around(self, module: nn.Module, method: Method, name: str) -> Method:
        """The method with the weights there; the layer's hooks see to its calls."""
        if name == "forward":
            return method

        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                self.enter(module)
                return method(*args, **kwargs)
            finally:
                self.leave(module)

        return call


def _restore_layer(module: nn.Module, hook: Any, former: Mapping[str, nn.Parameter]) -> None:
    """Give the layer its own parameters again, with the values that were put away."""
    for name, parameter in former.items():
        owner, _, key = name.rpartition(".")
        own = module.get_submodule(owner)._parameters
        if own[key] is not parameter:
            parameter.data = hook.weights_map[name].to(hook.original_devices[name])
            own[key] = parameter


def _move_inputs_and_outputs(
    network: nn.Module, device: torch.device, output_device: torch.device, undo: Undo
) -> None:
    """Move what the methods of a network are given to `device`, and what they return from there."""
    from accelerate.utils import send_to_device

    def wrap(method: Method, _: str) -> Method:
        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = send_to_device((args, kwargs), device)
            return send_to_device(method(*args, **kwargs), output_device)

        return call

    replace_methods(network, wrap, undo)


def _move(tensor: Tensor, device: torch.device) -> None:
    tensor.data = tensor.data.to(device)


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    for tensor in (*network.parameters(), *network.buffers()):
        yield from plain_tensors(tensor)
