"""Blocks that are not divided."""

from torch import nn


class Whole(nn.Module):
    """A block whose weights are on one device and come to it together, whatever it contains."""
