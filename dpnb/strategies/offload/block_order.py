"""The order in which a method of a network uses its blocks.

It is learnt from a call. Before the first one it is the order in which the blocks are registered.
"""

from __future__ import annotations

from dpnb.strategies.offload.packing import PackedWeights


class BlockOrder:
    """The packed weights of the blocks that a method uses, in order.

    Args:
        registered: all that the network has, as they are registered.

    Attributes:
        weights: in order.
        is_known: whether that was learnt from a call.
    """

    def __init__(self, registered: list[PackedWeights]) -> None:
        self.weights = registered
        self.is_known = False

    def learn(self, used: list[PackedWeights]) -> bool:
        """Take the order of a call; whether it differs from what was known.

        A call that has left blocks out, and kept to the order else, says nothing new.
        """
        if not used or (self.is_known and _is_part(used, self.weights)):
            return False
        self.weights, self.is_known = used, True
        return True


def _is_part(used: list[PackedWeights], known: list[PackedWeights]) -> bool:
    """Whether `used` are some of `known`, in their order."""
    left = iter(known)
    return all(any(weights is other for other in left) for weights in used)
