"""Random numbers, by the path that scripts import them from."""

from dpnb.pipelines.foreign.standins import randn_tensor

__all__ = ["randn_tensor"]
