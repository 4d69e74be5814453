"""A network that computes in another dtype than it is called in: tensors are cast at its border.

Who calls it, and asks for its dtype, need not know, so that this may change between two steps.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import cache, partial, wraps
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from typing_extensions import override

from dpnb.nn.compiled import call_uncompiled, plain_network
from dpnb.nn.upcast import COMPUTES_IN
from dpnb.run_listener import RunKey, RunListener
from dpnb.strategies.conditioning import identity
from dpnb.strategies.offload.calls import Method, Within, replace_method, replace_methods
from dpnb.strategies.offload.reached_parts import find_calls_past, find_dtypes_asked
from dpnb.strategies.offload.source_paths import SourcePath
from dpnb.strategies.told_classes import answer_by
from dpnb.strategies.undo import Undo

ATTRIBUTE = "dpnb_dtype_border"
"""Where a network keeps its border, as long as it has one."""

POSITIONS = re.compile(r".*_ids|.*rotary.*|.*freqs.*")
TIME_NAMES = ("timestep", "timesteps", "timestep_r", "t", "sigma", "sigmas")
TIMES = re.compile("|".join(TIME_NAMES))
"""The names of arguments that networks take in whatever dtype, and that lose by fewer digits."""

FOLLOWS_TIMES = re.compile(r"(\.to\(|dtype ?= ?)(timesteps?|t)\.dtype")
"""How code says that it goes on in the dtype of the timesteps that it is given."""

REMEMBERED = 2
"""So many tensors are kept of an argument: a network may see one prompt and then another."""

Known: TypeAlias = dict[str, list[tuple[tuple[object, ...], Tensor, Tensor]]]
"""By argument: what tells a tensor from others, the tensor, and what was made of it."""


class DtypeBorder(RunListener[RunKey]):
    """Casts what a network is given to the dtype that it computes in, and its answers back.

    Single numbers, timesteps and positions are given as they are. What does not change from step
    to step is cast once in a run.

    Args:
        network: the network.
        outside: the dtype that it is called in.
        weight: one of its parameters, whose dtype is the one that it computes in.
    """

    def __init__(self, network: nn.Module, outside: torch.dtype, weight: Tensor) -> None:
        self.outside = outside
        self._network, self._weight = plain_network(network), weight
        self._kept = [POSITIONS] if _follows_times(self._network) else [POSITIONS, TIMES]
        self._thread = Within()
        self._is_running = False
        self._known: Known = {}

    def open(self, paths: Iterable[SourcePath], undo: Undo) -> None:
        """Let every call of the network, or of parts of it, cross the border.

        Args:
            paths: that the code of its pipeline follows from the network on.
            undo: takes the inverse.
        """
        for module in (self._network, *find_dtypes_asked(self._network, paths)):
            undo.callback(vars(module).pop, ATTRIBUTE, None)
            vars(module)[ATTRIBUTE] = self
            answer_by(module, "dtype", _say_dtype, undo)
        replace_methods(self._network, self._wrap, undo)
        for part, name in find_calls_past(self._network, paths):
            replace_method(part, name, partial(self._wrap, name=name), undo)
        undo.watch(self)

    @override
    def begin_run(self, run: RunKey) -> None:
        """Remember what is cast from now on."""
        self._is_running = True
        self._known.clear()

    @override
    def end_run(self, run: RunKey, error: BaseException | None) -> None:
        """Forget it."""
        self._is_running = False
        self._known.clear()

    @property
    def is_within(self) -> bool:
        """Whether this thread computes inside of the network."""
        return self._thread.is_within

    @property
    def inside(self) -> torch.dtype:
        """The dtype that the network computes in now."""
        dtype: torch.dtype = vars(self._network).get(COMPUTES_IN, self._weight.dtype)
        return dtype

    def _wrap(self, method: Method, name: str) -> Method:
        names = list(_parameter_names(method))

        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            if self._thread.is_within:
                return method(*args, **kwargs)
            given = call_uncompiled(self._narrow_all, (names, args, kwargs), {})
            self._thread.is_within = True
            try:
                answer = method(*given[0], **given[1])
            finally:
                self._thread.is_within = False
            return call_uncompiled(self._widen_all, (answer,), {})

        return call

    def _narrow_all(
        self, names: list[str], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        named = [*names, *(f"argument {place}" for place in range(len(names), len(args)))]
        return (
            [self._narrow(name, value) for name, value in zip(named, args, strict=False)],
            {name: self._narrow(name, value) for name, value in kwargs.items()},
        )

    def _narrow(self, name: str, value: Any, path: str = "") -> Any:
        path = f"{path}.{name}"
        if isinstance(value, Tensor):
            return self._narrow_tensor(name, value, path)
        if type(value) in (tuple, list):
            pairs = enumerate(value)
            return type(value)(self._narrow(name, one, f"{path}.{place}") for place, one in pairs)
        if type(value) is dict:
            return {key: self._narrow(str(key), one, path) for key, one in value.items()}
        return value

    def _narrow_tensor(self, name: str, value: Tensor, path: str) -> Tensor:
        is_kept = any(pattern.fullmatch(name) for pattern in self._kept)
        if is_kept or value.ndim == 0 or not value.is_floating_point():
            return value
        if value.dtype == self.inside:
            return value
        if not self._is_running or value.ndim > 3 or torch.is_grad_enabled():
            return value.to(self.inside)
        known, key = self._known.setdefault(path, []), (self.inside, *identity(value))
        for kept, _, made in known:
            if kept == key:
                return made
        # The tensor is kept, so that no other can come to its address.
        made = value.to(self.inside)
        self._known[path] = [*known[-(REMEMBERED - 1) :], (key, value, made)]
        return made

    def _widen_all(self, answer: Any) -> Any:
        return tree_map(_Widening(self.inside, self.outside), answer)


class _Widening:
    """Casts what is in one dtype to another; a tensor that comes again is the same again."""

    def __init__(self, inside: torch.dtype, outside: torch.dtype) -> None:
        self._inside, self._outside = inside, outside
        self._made: dict[int, Tensor] = {}

    def __call__(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._widen(value)
        if _is_distribution(value):
            made = copy.copy(value)
            vars(made).update({name: self(held) for name, held in vars(value).items()})
            return made
        return value

    def _widen(self, value: Tensor) -> Tensor:
        if value.dtype != self._inside or value.dtype == self._outside:
            return value
        if id(value) not in self._made:
            self._made[id(value)] = value.to(self._outside)
        return self._made[id(value)]


def find_outer_dtype(network: nn.Module) -> torch.dtype | None:
    """The dtype that a network is called in, where that is not the one that it computes in."""
    border: DtypeBorder | None = vars(plain_network(network)).get(ATTRIBUTE)
    return None if border is None else border.outside


def _follows_times(network: nn.Module) -> bool:
    """Whether any code of a network computes in the dtype of the timesteps that it is given."""
    kinds = {type(module) for module in network.modules()}
    others = (kind for kind in kinds if kind.__module__.partition(".")[0] not in ("dpnb", "torch"))
    if any(FOLLOWS_TIMES.search(_source_of(cast(Hashable, kind))) for kind in others):
        return True
    return any(_hands_dtype_on(network, name) for name in TIME_NAMES)


def _hands_dtype_on(network: nn.Module, name: str) -> bool:
    """Whether a layer keeps the dtype of an argument of a network, by whatever name it has it.

    Args:
        network: a module, in whose code the argument is looked for.
        name: what the network calls it.
    """
    source = _source_of(cast(Hashable, type(network)))
    for child in set(re.findall(rf"self\.(\w+)\({name}[,)]", source)):
        layer = network._modules.get(child)
        if layer is None or type(layer).__module__.partition(".")[0] in ("dpnb", "torch"):
            continue
        own = next(_parameter_names(layer.forward), None)
        if own is None:
            continue
        keeps = re.compile(rf"((?<![=!<>])=|\.to\() ?{own}\.dtype\b")
        code = _source_of(cast(Hashable, type(layer)))
        if keeps.search(code) or _hands_dtype_on(layer, own):
            return True
    return False


@cache
def _source_of(kind: type[nn.Module]) -> str:
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return ""  # it was written at a prompt


def _say_dtype(network: nn.Module, plain: Callable[[nn.Module], Any]) -> Any:
    """The dtype that a network is called in; to its own code, the one that it computes in."""
    border = vars(network).get(ATTRIBUTE)
    if border is None:
        return plain(network)
    return border.inside if border.is_within else border.outside


def _parameter_names(method: Method) -> Iterator[str]:
    """The names of the arguments that may be given by their place."""
    parameters = inspect.signature(method).parameters.values()
    return (p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))


def _is_distribution(value: Any) -> bool:
    """Whether it is what an autoencoder encodes a picture to: dpnb's, or like diffusers'."""
    return value is not None and {"sample", "mode"} <= {*dir(type(value))}
