"""The deep blocks of a UNet, computed in some steps and reused in others.

Ma et al. (2023), DeepCache, arXiv:2312.00858: what comes up from the coarse levels changes little
from one step to the next, while the finest levels, which see the noise itself, have to be computed.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from torch import Tensor, nn

from dpnb.models.unet_blocks import UpBlock
from dpnb.models.unet_path import UNetPath, follow_path
from dpnb.nn.attention import Attention
from dpnb.nn.attention_maps import RecordingKernel
from dpnb.nn.skip_connections import concatenate
from dpnb.strategies.reuse.branches import Branches, PresentCall, ReuseSpan
from dpnb.strategies.undo import Undo


class DeepFeatures:
    """What comes up from the deep blocks, `[batch, channels, height, width]`, is kept by branch.

    This fills the slot `follow` of a UNet.

    Args:
        network: the UNet.
        branches: of the present run.
        interval: the deep blocks are computed in every so many steps.
        levels: the finest ones, which are computed in every step.
    """

    def __init__(
        self, network: nn.Module, branches: Branches[Tensor], interval: int, levels: int
    ) -> None:
        self._middle: Any = network.get_submodule("mid_block") if _has_middle(network) else None
        self._branches, self._interval, self._levels = branches, interval, levels

    def __call__(self, path: UNetPath, maps: list[Tensor]) -> None:
        """Through all blocks, or through those of the finest levels and what is kept of others."""
        call = self._branches.present
        levels = min(self._levels, path.levels - 1)
        if call is None or levels < 1:
            follow_path(path, maps)
            return
        deep = path.levels - levels
        kept, age = call.branch.kept, call.age_of(call.branch.computed)
        is_fresh = age is not None and age < self._interval
        if kept is not None and is_fresh and call.may_reuse and not self._is_recorded:
            call.is_reusing = True
            path.go_down_partly(maps, levels)
            self._hand_over(call, kept, path.up[deep], maps)
        else:
            call.branch.kept = kept = None
            path.go_down(maps)
            maps[:] = path.across(maps)
            path.go_up(maps, slice(0, deep))
            call.branch.computed = call.index
            self._hand_over(call, maps.pop(), path.up[deep], maps)
        del kept
        path.go_up(maps, slice(deep, None))

    def _hand_over(
        self,
        call: PresentCall[Tensor],
        features: Tensor,
        block: nn.Module,
        maps: list[Tensor],
    ) -> None:
        """Append what the next block takes, and keep it where the next step may reuse it."""
        age = call.age_of(call.branch.computed)
        is_kept = call.serves_next and age is not None and age + 1 < self._interval
        call.branch.kept = features if is_kept else None
        maps.append(_for_block(block, features) if is_kept else features)

    @property
    def _is_recorded(self) -> bool:
        """Whether somebody looks at the attention of the middle block."""
        layers = [] if self._middle is None else self._middle.modules()
        return any(
            isinstance(layer.kernel, RecordingKernel)
            for layer in layers
            if isinstance(layer, Attention)
        )


class StepKind(Enum):
    """What the deep blocks do in a step."""

    ALONE = "are computed, before anything is kept"
    KEPT = "are computed, for other steps too"
    REUSED = "are left out"


def list_step_kinds(span: ReuseSpan, interval: int, total: int) -> tuple[StepKind, ...]:
    """What the deep blocks do in each of `total` steps, as far as that makes a difference."""
    kinds: list[StepKind] = []
    computed = 0
    for index in range(total):
        if span.has(index, total) and index - computed < interval:
            kinds.append(StepKind.REUSED)
            continue
        computed = index
        is_kept = StepKind.KEPT in kinds or (interval > 1 and span.has(index + 1, total))
        kinds.append(StepKind.KEPT if is_kept else StepKind.ALONE)
    return tuple(kinds)


def reuse_deep_features(
    network: nn.Module, branches: Branches[Tensor], interval: int, levels: int, undo: Undo
) -> None:
    """Let a UNet compute its deep blocks in every `interval`-th step alone, until this is undone.

    Args:
        network: the UNet.
        branches: of the present run.
        interval: see `DeepFeatures`.
        levels: likewise.
        undo: takes the inverse.
    """
    branches.hear(network, undo)
    undo.set(network, "follow", DeepFeatures(network, branches, interval, levels))


def _for_block(block: nn.Module, features: Tensor) -> Tensor:
    """The features as a block may take them, which may overwrite its input."""
    overwrites = isinstance(block, UpBlock) and block.merge_skip is not concatenate
    return features.clone() if overwrites else features


def _has_middle(network: nn.Module) -> bool:
    return any(name == "mid_block" for name, _ in network.named_children())
