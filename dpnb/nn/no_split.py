"""The mark of blocks that offloading and device maps do not divide."""

from torch import nn


class NoSplit(nn.Module):
    """A block that stays on one device; offloading moves all its weights together."""
