"""Random numbers and compiled modules, by the path that scripts import them from."""

from dpnb.pipelines.foreign.standins import randn_tensor
from dpnb.pipelines.foreign.versions import is_compiled_module

__all__ = ["is_compiled_module", "randn_tensor"]
