"""The base classes that scripts derive their own networks and schedulers from, and ask for.

Whatever is a network or a scheduler of dpnb's is an instance of them, too.
"""

from __future__ import annotations

from typing import Any, ClassVar

from typing_extensions import override

from dpnb.loading.config import Configured
from dpnb.models.model import Model
from dpnb.pipelines.foreign.declared import DeclaredModel, DeclaredScheduler, DeclaredSettings
from dpnb.schedulers.scheduler import Scheduler


class _StandsFor(type):
    """The class of classes that stand for others, whose instances are theirs."""

    stands_for: ClassVar[type[Any]]

    @override
    def __instancecheck__(cls, instance: Any) -> bool:
        return super().__instancecheck__(instance) or cls._has(type(instance))

    @override
    def __subclasscheck__(cls, subclass: type) -> bool:
        return super().__subclasscheck__(subclass) or cls._has(subclass)

    def _has(cls, kind: type) -> bool:
        other = vars(cls).get("stands_for")
        return other is not None and issubclass(kind, other)


class ModelMixin(DeclaredModel, metaclass=_StandsFor):
    """The base of networks of one's own, whose constructor is decorated by `register_to_config`."""

    stands_for: ClassVar[type[Any]] = Model


class SchedulerMixin(DeclaredScheduler, metaclass=_StandsFor):
    """The base of schedulers of one's own; see `ModelMixin`."""

    stands_for: ClassVar[type[Any]] = Scheduler


class ConfigMixin(DeclaredSettings, metaclass=_StandsFor):
    """The base of whatever has settings; it may go beside the two others."""

    stands_for: ClassVar[type[Any]] = Configured
