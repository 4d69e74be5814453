"""The operations of torch on late cards: what CUDA would compute, the CPU does, later.

What an operation returns on the CPU says once how its results are laid out; from then on memory is
made for them at once, and what is computed comes into it when the schedule says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.library import Library

from tests.devices.blocks import CPU_KEYS, extent
from tests.devices.cards import PRESENT, Access, LateCards
from tests.devices.copies import copy_, to_copy
from tests.devices.streams import by_itself

aten = torch.ops.aten

WHOLE = ("convolution", "group_norm", "scaled_dot_product_attention", "_to_copy")
"""What torch would take apart in another way for a card than for the CPU."""

INDEXED = {aten.index.Tensor, aten.index_put_.default, aten._index_put_impl_.default}

LOOKS = {torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output}

_layouts: dict[Any, Any] = {}


@contextmanager
def registered() -> Iterator[None]:
    """Within, operations on tensors of a card come here."""
    library = Library("aten", "IMPL")
    for name in _names_on_cpu():
        base, _, overload = name.removeprefix("aten::").partition(".")
        op = getattr(getattr(aten, base), overload or "default")
        own = {aten.copy_.default: copy_, aten._to_copy.default: to_copy}.get(op)
        library.impl(name.removeprefix("aten::"), own or partial(run, op), "CUDA")
    try:
        yield
    finally:
        library._destroy()


@cache
def _names_on_cpu() -> tuple[str, ...]:
    """What the CPU has kernels for, and what torch does by making room and filling it."""
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    names = [n for n in torch._C._dispatch_get_all_op_names() if n.startswith("aten::")]
    found = {name for name in names if has(name, "CPU")}
    filled = {name.partition(".")[0] for name in found if name.endswith("out")}
    found |= {
        name
        for name in names
        if name.partition(".")[0] in filled and has(name, "CompositeExplicitAutograd")
    }
    return tuple(sorted(found | {f"aten::{name}" for name in (*WHOLE, "copy_")}))


def run(op: OpOverload, *args: Any, **kwargs: Any) -> Any:
    """What an operation returns that is given tensors of a card, or is to make some."""
    cards = PRESENT.the_cards()
    with cards.schedule.lock, torch.no_grad():
        if _is_view(op):
            return op.redispatch(CPU_KEYS, *args, **kwargs)
        if op is aten.empty.memory_format or op is aten.empty_strided.default:
            return _make_empty(cards, op, args, kwargs)
        given = list(tensors_in((args, tuple(kwargs.values()))))
        card = _card_of(op, given, kwargs.get("device"), cards)
        stream = cards.stream_of(card)
        cards.bury()
        cards.launch()
        alias = partial(_on_cpu, cards)
        cpu_args, cpu_kwargs = alias(args), {name: alias(v) for name, v in kwargs.items()}
        if _looks(op, given):
            cards.wait(stream, str(op))
            _check_read(cards, stream, op, given)
            with by_itself():
                return _to_cards(cards, op(*cpu_args, **cpu_kwargs), card)
        return _launch(cards, op, (args, kwargs), (cpu_args, cpu_kwargs), card)


def _launch(
    cards: LateCards, op: OpOverload, given: tuple[Any, Any], on_cpu: tuple[Any, Any], card: int
) -> Any:
    """Ask for a kernel, and make room for what it computes."""
    (args, kwargs), (cpu_args, cpu_kwargs) = given, on_cpu
    changed = _changed(op, args, kwargs)
    key = None if changed else (op, _key(args), _key(tuple(sorted(kwargs.items()))))
    made: Any = None
    makes = not changed
    if makes:
        if key not in _layouts:
            with by_itself():
                _layouts[key] = _layouts_of(op(*_blank(cpu_args), **_blank(cpu_kwargs)))
        made = _make(cards, _layouts[key], card)
    results = [t for t in tensors_in((made,)) if t.is_cuda]
    targets = [cards.alias(t) for t in results]

    def compute() -> None:
        out = op(*cpu_args, **cpu_kwargs)
        if makes:  # nothing else: what is changed may be gone by then
            values = list(tensors_in((out,)))
            for target, value in zip(targets, values, strict=True):
                target.copy_(value)

    stream = cards.stream_of(card)
    stream.learn(cards.schedule.host)
    work = stream.ask(compute, str(op))
    accesses: list[Access] = []
    for tensor in tensors_in((args, tuple(kwargs.values()))):
        if tensor.is_cuda:
            writes = any(tensor is c for c in changed)
            accesses += cards.access(tensor, writes=writes)
    for tensor in results:
        accesses += cards.access(tensor, writes=True)
    cards.check(stream, work, accesses)
    cards.schedule.go_on()
    return _returned(op, changed, made)


def _returned(op: OpOverload, changed: list[Tensor], made: Any) -> Any:
    if not changed:
        return made
    if not op._schema.returns:
        return None
    return changed[0] if len(op._schema.returns) == 1 else tuple(changed)


def _check_read(cards: LateCards, stream: Any, op: OpOverload, given: Sequence[Tensor]) -> None:
    work = stream.ask(None, str(op))
    for tensor in given:
        if tensor.is_cuda:
            cards.check(stream, work, cards.access(tensor, writes=False))


def _card_of(
    op: OpOverload, given: Sequence[Tensor], device: torch.device | None, cards: LateCards
) -> int:
    """On which card it is computed.

    Raises:
        RuntimeError: its tensors are not on one.
    """
    places = {t.device for t in given if t.is_cuda or t.ndim}
    if op in INDEXED:
        hosts = [t for t in given if not t.is_cuda]
        if hosts:
            cards.note_wait(f"{op} with an index of the host", sum(t.nbytes for t in hosts))
        places = {t.device for t in given if t.is_cuda}
    if len(places) > 1:
        names = ", ".join(sorted(map(str, places)))
        raise RuntimeError(f"Expected all tensors to be on the same device, but {op} got {names}.")
    if not places and device is not None and device.index is not None:
        return device.index
    return next(iter(places)).index if places else cards.present.card


@cache
def _is_view(op: OpOverload) -> bool:
    return bool(op.is_view) or op in (aten._reshape_alias.default, aten.set_.source_Tensor)


def _looks(op: OpOverload, given: Sequence[Tensor]) -> bool:
    """Whether the host has to know values before it goes on."""
    if op in INDEXED:
        return any(t.dtype in (torch.bool, torch.uint8) for t in given[1:])
    return _always_looks(op)


@cache
def _always_looks(op: OpOverload) -> bool:
    returns = op._schema.returns
    is_value = bool(returns) and not any("Tensor" in str(r.type) for r in returns)
    return is_value or bool(LOOKS & set(op.tags))


def _make_empty(cards: LateCards, op: OpOverload, args: Any, kwargs: Any) -> Tensor:
    kwargs = dict(kwargs)
    place = kwargs.pop("device", None)
    for name in ("pin_memory", "layout"):
        kwargs.pop(name, None)
    if any(isinstance(size, torch.SymInt) for size in args[0]):
        raise NotImplementedError("late cards know no symbolic sizes.")
    like = _meta(op, tuple(args[0]), args[1:], kwargs)
    index = cards.present.card if place is None or place.index is None else place.index
    shape, stride, dtype = like
    return cards.allocate(shape, stride, dtype, index)


def _meta(op: OpOverload, size: tuple[int, ...], rest: Any, kwargs: Any) -> Any:
    key = (op, size, _key(tuple(rest)), _key(tuple(sorted(kwargs.items()))))
    if key not in _layouts:
        with by_itself():
            like = op(list(size), *rest, **kwargs, device=torch.device("meta"))
        _layouts[key] = (tuple(like.shape), like.stride(), like.dtype)
    return _layouts[key]


def _changed(op: OpOverload, args: Sequence[Any], kwargs: Any) -> list[Tensor]:
    """The tensors that an operation changes, in the order of its arguments."""
    found = []
    for place, name in _written(op):
        given = args[place] if place < len(args) else kwargs.get(name)
        found += list(tensors_in((given,)))
    return found


@cache
def _written(op: OpOverload) -> tuple[tuple[int, str], ...]:
    return tuple(
        (place, argument.name)
        for place, argument in enumerate(op._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    )


def _key(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype
    if isinstance(value, (tuple, list)):
        return tuple([_key(item) for item in value])
    return type(value), value


def _layouts_of(out: Any) -> Any:
    if isinstance(out, Tensor):
        return tuple(out.shape), out.stride(), out.dtype
    if isinstance(out, (tuple, list)):
        return [_layouts_of(item) for item in out]
    return out


def _blank(value: Any) -> Any:
    """Arguments that are laid out alike, without the numbers that may not have come yet."""
    if isinstance(value, Tensor):
        length = extent(value.shape, value.stride())
        return torch.zeros(length, dtype=value.dtype).as_strided(value.shape, value.stride())
    if isinstance(value, (tuple, list)):
        return type(value)([_blank(item) for item in value])
    return (
        {name: _blank(item) for name, item in value.items()} if isinstance(value, dict) else value
    )


def _make(cards: LateCards, layout: Any, card: int) -> Any:
    if isinstance(layout, list):
        return tuple(_make(cards, item, card) for item in layout)
    if not isinstance(layout, tuple):
        return layout
    shape, stride, dtype = layout
    return cards.allocate(shape, stride, dtype, card)


def _to_cards(cards: LateCards, out: Any, card: int) -> Any:
    """Values that the host has seen, on a card."""
    if isinstance(out, Tensor):
        made = cards.allocate(tuple(out.shape), out.stride(), out.dtype, card)
        cards.schedule.finish_all()
        cards.alias(made).copy_(out)
        return made
    if isinstance(out, (tuple, list)):
        return type(out)(_to_cards(cards, item, card) for item in out)
    return out


def _on_cpu(cards: LateCards, value: Any) -> Any:
    """Arguments of the CPU in place of those of a card; what the host may change is copied."""
    if isinstance(value, Tensor):
        return cards.alias(value) if value.is_cuda else value.clone()
    if isinstance(value, (tuple, list)):
        return type(value)([_on_cpu(cards, item) for item in value])
    return torch.device("cpu") if isinstance(value, torch.device) else value


def tensors_in(values: Sequence[Any]) -> Iterator[Tensor]:
    """The tensors among values, and in lists and tuples among them."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from tensors_in(value)
