"""What the blocks of a transformer add to its tokens, reused while the first block says the same.

After First Block Cache (Cheng 2025, https://github.com/chengzeyi/ParaAttention), which follows Liu
et al. (2024), TeaCache, arXiv:2411.19108: the first block is computed in every step. Where what it
adds has changed little since the last step that was computed whole, all others are left out, and
what they added then is added again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any
from weakref import ref

from torch import Tensor, nn

from dpnb.errors import UnknownValueError
from dpnb.nn.compiled import plain_network
from dpnb.strategies.offload.calls import Method, replace_method
from dpnb.strategies.reuse.block_ties import BlockArguments, Ties, ties_by_size, ties_by_use
from dpnb.strategies.reuse.branches import Branches, PresentCall
from dpnb.strategies.undo import Undo

LISTS = (
    "transformer_blocks",
    "single_transformer_blocks",
    "blocks",
    "layers",
    "double_blocks",
    "single_blocks",
    "double_layers",
    "single_layers",
)
"""What networks call the lists of blocks that their tokens go through, one after the other."""


@dataclass(eq=False)
class ListResidual:
    """What the blocks of one list have added, but for the first block of all.

    Attributes:
        ties: of its blocks, once they are known.
        added: by the name of an argument; before the last block has computed, what the first was
            given.
        is_whole: whether the last block has computed.
    """

    ties: Ties | None = None
    added: dict[str, Tensor] = field(default_factory=dict)
    is_whole: bool = False


@dataclass(eq=False)
class Residuals:
    """What is kept of a call.

    Attributes:
        first: what the first block has added to the picture's tokens.
        lists: what all others have, list by list.
    """

    first: Tensor | None
    lists: list[ListResidual]

    @property
    def is_whole(self) -> bool:
        """Whether it can be reused."""
        return self.first is not None and all(one.is_whole for one in self.lists)


class BlockResiduals:
    """Stands around every block of a network.

    Args:
        lists: the blocks.
        branches: of the present run.
        threshold: how much of what the first block adds may have changed.
    """

    def __init__(
        self,
        lists: Sequence[Sequence[nn.Module]],
        branches: Branches[Residuals],
        threshold: float,
    ) -> None:
        self._branches, self._threshold = branches, threshold
        self._lengths = [len(blocks) for blocks in lists]
        self._arguments = [BlockArguments(type(plain_network(blocks[0]))) for blocks in lists]
        self._previous: Any = None
        self._between: list[ref[Tensor]] = []

    def surround(self, method: Method, at: int, place: int) -> Method:
        """Put this around the method of a block.

        Args:
            method: computes the block.
            at: which list it is in.
            place: of the block in the list.
        """

        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            present = self._branches.present
            if present is None:
                return method(*args, **kwargs)
            flows = self._arguments[at].flows_of(args, kwargs)
            compute = partial(method, *args, **kwargs)
            if at == place == 0:
                return self._run_first(present, compute, flows)
            if present.is_reusing:
                return self._reuse(present, flows, at, place)
            return self._compute(present, compute, flows, at, place)

        return call

    # --- the first block ---

    def _run_first(
        self, present: PresentCall[Residuals], compute: Method, flows: dict[str, Tensor]
    ) -> Any:
        self._previous = None
        picture = next(iter(flows), "")
        before = flows[picture].clone() if flows else None
        output = compute()
        kept = present.branch.kept
        ties = (None if kept is None else kept.lists[0].ties) or ties_by_size(flows, output)
        if ties is None or picture not in ties.flows or before is None:
            added = None
        else:
            added = before.sub_(ties.take(output)[picture]).neg_()
        del before
        if kept is not None and kept.is_whole and added is not None and present.may_reuse:
            present.is_reusing = self._is_alike(kept.first, added)
        del kept
        if not present.is_reusing:
            present.branch.kept = None
            self._begin_whole(present, added, ties, output)
        return output

    def _is_alike(self, former: Tensor | None, added: Tensor) -> bool:
        assert former is not None
        try:
            change = (added - former).abs().mean() / former.abs().mean()
            return bool(change <= self._threshold)
        except UnknownValueError:
            return False

    def _begin_whole(
        self,
        present: PresentCall[Residuals],
        added: Tensor | None,
        ties: Ties | None,
        output: Any,
    ) -> None:
        """All blocks are computed in this call."""
        if not present.serves_later:
            return
        kept = Residuals(added, [ListResidual() for _ in self._lengths])
        present.branch.kept, present.branch.computed = kept, present.index
        head = kept.lists[0]
        head.ties = ties
        if self._lengths[0] == 1:
            head.is_whole = ties is not None
        else:
            self._previous = output
            if ties is not None:
                head.added = {name: one.clone() for name, one in ties.take(output).items()}

    # --- all others ---

    def _compute(
        self,
        present: PresentCall[Residuals],
        compute: Method,
        flows: dict[str, Tensor],
        at: int,
        place: int,
    ) -> Any:
        kept = present.branch.kept
        if kept is None:
            return compute()
        own, previous = kept.lists[at], self._previous
        self._previous = None
        given = {id(tensor) for tensor in flows.values()}
        if place == 0:
            self._between.clear()
            own.added = {name: tensor.clone() for name, tensor in flows.items()}
        else:
            own.ties = None if previous is None else ties_by_use(flows, previous)
            if own.ties is None:
                own.added.clear()
        del previous, flows
        output = compute()
        if place == 0:
            own.ties = ties_by_size(own.added, output)
            used = own.added if own.ties is None else own.ties.flows
            own.added = {name: one for name, one in own.added.items() if name in used}
        is_last = place == self._lengths[at] - 1
        made = [one for one in _tensors_of(output) if id(one) not in given]
        if is_last and own.ties is not None:
            if self._is_collected(given | set(map(id, made))):
                own.added.clear()
            else:
                self._finish(own, own.ties, output)
        if not is_last:
            self._between += map(ref, made)
        if not is_last and (place == 0 or own.ties is not None):
            self._previous = output
        return output

    def _is_collected(self, present: set[int]) -> bool:
        """Whether anybody holds what a block between the first and the last has returned.

        Then it is of use by itself, as to who steers another network by it, and has to be right.
        """
        held = [one for look in self._between if (one := look()) is not None]
        self._between.clear()
        return any(id(one) not in present for one in held)

    @staticmethod
    def _finish(own: ListResidual, ties: Ties, output: Any) -> None:
        """The last block of a list has computed: keep what all have added."""
        outputs = ties.take(output)
        begun, own.added = own.added, {}
        if outputs.keys() <= begun.keys():
            own.added = {name: begun[name].sub_(one).neg_() for name, one in outputs.items()}
            own.is_whole = True

    def _reuse(
        self, present: PresentCall[Residuals], flows: Mapping[str, Tensor], at: int, place: int
    ) -> Any:
        kept = present.branch.kept
        assert kept is not None
        own = kept.lists[at]
        ties = own.ties
        assert ties is not None
        if place < self._lengths[at] - 1:
            return ties.give(flows)
        return ties.give({name: flows[name] + added for name, added in own.added.items()})


def _tensors_of(output: Any) -> list[Tensor]:
    outputs = output if isinstance(output, tuple) else (output,)
    return [one for one in outputs if isinstance(one, Tensor)]


def find_block_lists(network: nn.Module) -> list[list[nn.Module]]:
    """The lists of blocks that a transformer's tokens go through; none where it has no such lists.

    Args:
        network: any network.
    """
    return list(_block_lists(plain_network(network)))


def _block_lists(network: nn.Module) -> Iterator[list[nn.Module]]:
    for name, child in network.named_children():
        if name not in LISTS or not isinstance(child, nn.ModuleList) or len(child) == 0:
            continue
        kinds = {type(plain_network(block)) for block in child}
        if len(kinds) == 1 and BlockArguments(kinds.pop()).has_flows:
            yield list(child)


def reuse_block_residuals(
    network: nn.Module, branches: Branches[Residuals], threshold: float, undo: Undo
) -> None:
    """Let a transformer leave out its blocks where the first says the same, until this is undone.

    Args:
        network: with lists of blocks.
        branches: of the present run.
        threshold: see `BlockResiduals`.
        undo: takes the inverse.
    """
    lists = find_block_lists(network)
    branches.hear(network, undo)
    residuals = BlockResiduals(lists, branches, threshold)
    for at, blocks in enumerate(lists):
        for place, block in enumerate(blocks):
            compiled = block._compiled_call_impl is not None
            name = "_compiled_call_impl" if compiled else "_call_impl"
            around = partial(residuals.surround, at=at, place=place)
            replace_method(block, name, around, undo)
