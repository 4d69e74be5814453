"""What is drawn while plans are measured: the same that is drawn while they are predicted."""

from dpnb.planning.workload import Workload

__all__ = ["Workload"]
