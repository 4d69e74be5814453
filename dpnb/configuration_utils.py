"""Settings of networks and schedulers of one's own, by the path that scripts import them from."""

from dpnb.pipelines.foreign.bases import ConfigMixin
from dpnb.pipelines.foreign.declared import DeclaredConfig as FrozenDict
from dpnb.pipelines.foreign.declared import register_to_config

__all__ = ["ConfigMixin", "FrozenDict", "register_to_config"]
