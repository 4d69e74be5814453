"""What the planner says of the plans that are measured; it needs no device."""

from __future__ import annotations

from dpnb.planning.device_profile import DeviceProfile
from dpnb.planning.gpu_specs import GPU_SPECS
from dpnb.planning.planner import Planner
from dpnb.planning.simulation import Simulation
from dpnb.planning.valueless import ValuelessTensors
from dpnb.planning.valueless_pipeline import build_valueless_pipeline
from tests.gpu.models import workload_of
from tests.gpu.plans import plan_key, plans_for
from tests.gpu.rows import Rows
from tests.gpu.setting import Setting, Shape

USUAL = "H100 SXM"
"""The card that is taken where the one at hand is not known."""


def measure(setting: Setting, rows: Rows) -> None:
    """The part."""
    card = find_card(setting.options.get("card", ""))
    rows.add("Card", card=card)
    profile = DeviceProfile.from_name(card)
    for shape in setting.shapes.values():
        with rows.attempt(shape.title, "all plans"):
            _predict(shape, profile, setting, rows)


def _predict(shape: Shape, profile: DeviceProfile, setting: Setting, rows: Rows) -> None:
    mode = ValuelessTensors()
    pipe = build_valueless_pipeline(shape.architecture, mode, shape.dtype)
    simulation = Simulation(pipe, mode, workload_of(shape), profile)
    planner = Planner(simulation, None, approximate=True)
    for row in planner.rows_of(plans_for(setting).values()):
        peaks = {f"predicted_{stage}_peak_bytes": peak for stage, peak in row.peaks.items()}
        memory = row.memory
        if memory is not None:
            peaks["predicted_reserved_bytes"] = memory.reserved
            peaks["predicted_card_bytes"] = memory.most
        rows.add(
            shape.title,
            plan=plan_key(row.plan),
            predicted_tensor_bytes=row.peak,
            predicted_allocated_bytes=row.peak if memory is None else memory.allocated,
            predicted_step_seconds=row.seconds_per_step,
            **peaks,
        )
        if setting.left < 0:
            rows.leave_out(f"{shape.title}: further predictions", "no time left")
            return
    for name, why in planner.left_out.items():
        rows.leave_out(f"{shape.title}: prediction of {name}", why)


def find_card(name: str) -> str:
    """The card of the data sheets that a driver's name means."""
    words = name.upper().replace("-", " ").split()
    named = [known for known in GPU_SPECS if set(known.upper().split()) <= set(words)]
    if named:
        return max(named, key=len)
    if "H100" in words:
        return "H100 PCIe" if "PCIE" in words else "H100 SXM"
    if "A100" in words:
        return "A100 40GB" if any("40GB" in word for word in words) else "A100 80GB"
    return USUAL
