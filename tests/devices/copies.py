"""Copies from the host to a card, back, and between cards."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from tests.devices.blocks import POISON
from tests.devices.cards import PRESENT, LateCards
from tests.devices.streams import by_itself


def copy_(target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    """`Tensor.copy_` where one of both is on a card.

    From pinned memory, or to it, nothing waits if that is asked for. Pageable memory is read before
    this returns, and written before it returns, whatever is asked for.
    """
    cards = PRESENT.the_cards()
    with cards.schedule.lock, by_itself():
        cards.bury()
        cards.launch()
        if not source.is_cuda:
            _to_card(cards, target, source, non_blocking)
        elif not target.is_cuda:
            _to_host(cards, target, source, non_blocking)
        else:
            _between(cards, target, source)
        cards.schedule.go_on()
    return target


def _to_card(cards: LateCards, target: Tensor, source: Tensor, non_blocking: bool) -> None:
    stream = cards.stream_of(target.device.index)
    stream.learn(cards.schedule.host)
    is_direct = source.dtype == target.dtype and source.stride() == target.stride()
    is_late = non_blocking and is_direct and cards.is_pinned(source)
    values = source if is_late else source.clone()
    room = cards.alias(target)
    start = source.data_ptr()
    host = (start, start + source.nbytes) if is_late and source.numel() else None
    work = stream.ask(lambda: _fill(room, values), "a copy", host=host)
    cards.check(stream, work, cards.access(target, writes=True))
    if is_late or not source.numel():
        return
    if non_blocking:
        kind = "of other layout" if cards.is_pinned(source) else "pageable"
        cards.note_wait(f"a copy from {kind} memory of the host", source.nbytes)
    else:
        cards.wait(stream, "a copy from the host", source.nbytes)


def _to_host(cards: LateCards, target: Tensor, source: Tensor, non_blocking: bool) -> None:
    stream = cards.stream_of(source.device.index)
    stream.learn(cards.schedule.host)
    values = cards.alias(source)
    is_late = non_blocking and cards.is_pinned(target)
    if is_late:
        target.view(torch.uint8).fill_(POISON) if target.is_contiguous() and target.ndim else None
    start = target.data_ptr()
    host = (start, start + target.nbytes) if target.numel() else None
    work = stream.ask(lambda: _fill(target, values), "a copy to the host", host=host)
    cards.check(stream, work, cards.access(source, writes=False))
    if not is_late:
        kind = "pageable memory of the host" if non_blocking else "the host"
        cards.wait(stream, f"a copy to {kind}", source.nbytes)


def _between(cards: LateCards, target: Tensor, source: Tensor) -> None:
    stream = cards.stream_of(source.device.index)
    other = cards.stream_of(target.device.index)
    stream.learn(cards.schedule.host)
    needs: tuple[Any, ...] = ()
    if other is not stream:
        stream.learn(other.knowledge)
        needs = ((other, other.asked),)
    room, values = cards.alias(target), cards.alias(source)
    work = stream.ask(lambda: _fill(room, values), "a copy", needs)
    accesses = [*cards.access(source, writes=False), *cards.access(target, writes=True)]
    cards.check(stream, work, accesses)
    if other is not stream:
        other.learn(stream.knowledge)
        other.ask(None, "a wait", ((stream, stream.asked),))


def _fill(target: Tensor, values: Tensor) -> None:
    target.copy_(values)


def to_copy(
    tensor: Tensor,
    *,
    dtype: torch.dtype | None = None,
    layout: torch.layout | None = None,
    device: torch.device | None = None,
    pin_memory: bool | None = None,
    non_blocking: bool = False,
    memory_format: torch.memory_format | None = None,
) -> Tensor:
    """`Tensor.to` of a tensor on a card; to the host without waiting it comes in pinned memory."""
    cards = PRESENT.the_cards()
    place = tensor.device if device is None else device
    kind = tensor.dtype if dtype is None else dtype
    shape, stride = _layout(
        tuple(tensor.shape), tensor.stride(), kind, memory_format or torch.preserve_format
    )
    with by_itself():
        made = torch.empty_strided(shape, stride, dtype=kind, device=place)
    if place.type == "cpu" and non_blocking:
        cards.pin(made)
    made.copy_(tensor, non_blocking)
    return made


@cache
def _layout(
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    dtype: torch.dtype,
    memory_format: torch.memory_format,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    with by_itself():
        like = torch.empty_strided(shape, stride, dtype=torch.uint8, device="meta")
        made = torch.empty_like(like, dtype=dtype, memory_format=memory_format)
    return tuple(made.shape), made.stride()
