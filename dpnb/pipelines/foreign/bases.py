"""Our base classes by the names that scripts ask for in `isinstance`."""

from dpnb.loading.config import Configured as ConfigMixin
from dpnb.models.model import Model as ModelMixin
from dpnb.schedulers.scheduler import Scheduler as SchedulerMixin

__all__ = ["ConfigMixin", "ModelMixin", "SchedulerMixin"]
