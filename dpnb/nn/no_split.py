"""The mark of blocks that offloading and device maps do not divide."""

from dpnb.nn.checkpointing import Checkpointed


class NoSplit(Checkpointed):
    """A block that stays on one device; offloading moves all its weights together."""
