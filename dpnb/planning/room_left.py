"""Whether a device has still room for what was planned for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dpnb.planning.device_choice import device_now
from dpnb.planning.device_profile import DeviceProfile
from dpnb.units import format_bytes

if TYPE_CHECKING:
    from dpnb.planning.plan_row import PlanRow


def describe_shortage(device: DeviceProfile, row: PlanRow, pipe: Any) -> str | None:
    """Why a plan that had room on a device has none any more: others have taken it since.

    Args:
        device: as it was when that was planned.
        row: what the plan needs.
        pipe: which it is for.

    Returns:
        A sentence; `None` where there is room, was none before, or the device is not at hand.
    """
    now = device_now(device, pipe)
    if now is None:
        return None
    # What this process itself has kept since, it can use again.
    now = replace(now, process=device.process)
    if row.needed > device.available or row.needed <= now.available:
        return None
    return (
        f"Other programs hold {format_bytes(now.others)} of {now.name} now, and held "
        f"{format_bytes(device.others)} when this was planned: {format_bytes(now.available)} are "
        f"left, and the plan needs {format_bytes(row.needed)}; plan anew, or make room first."
    )
