"""The meters that panels measure runs with."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import partial

import torch

from dpnb.metering.live import KnownCounts, LiveMeter, WeighedMeter
from dpnb.metering.meter import Meter, meter_for
from dpnb.metering.reading import MeterError, Reading
from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.pipelines.listeners import Run
from dpnb.planning.weight_sizes import idle_weight_bytes

METERS: Mapping[str, str] = {
    "cuda": "torch's CUDA allocator",
    "live": "weights and what runs make",
    "host": "memory of this process",
    "tensors": "what runs make, in every step (slower)",
}
"""What is counted, in words, by the name of a meter."""

WITH_WEIGHTS = ("cuda", "live")
"""Meters that count what plans predict: weights, and what runs make."""


def meters_on(device: torch.device) -> tuple[str, ...]:
    """The names of the meters that serve on a device; the first is that of choice."""
    return ("cuda", "tensors") if device.type == "cuda" else ("live", "host", "tensors")


def panel_meter(
    pipe: ExplorablePipeline,
    name: str,
    run: Run | None = None,
    known: KnownCounts | None = None,
) -> Meter:
    """A meter for one run.

    Args:
        pipe: what runs.
        name: one of `METERS`.
        run: which run; `None` to look while nothing runs.
        known: what former runs have needed.

    Raises:
        ValueError: there is no meter of that name.
        MeterError: the meter cannot read anything here.
    """
    weigh = partial(idle_weight_bytes, pipe.strategies.networks)
    if name != "live":
        meter = meter_for(pipe.execution_device, name)  # type: ignore[arg-type]
        return WeighedMeter(meter, weigh) if name == "cuda" else meter
    weights = weigh()
    form = None if run is None else _form_here(pipe, run.form, weights)
    return LiveMeter(weigh, form, known or KnownCounts(), _machine(), weights)


def _form_here(pipe: ExplorablePipeline, form: Hashable | None, weights: int) -> Hashable | None:
    """The form of a run with these networks, the scheduler, and what is switched on."""
    if form is None:
        return None
    networks = dict(pipe.strategies.networks.items())
    parts = tuple((name, id(network)) for name, network in networks.items())
    dtypes = tuple(next((p.dtype for p in one.parameters()), None) for one in networks.values())
    scheduler = type(pipe.scheduler).__name__
    return form, pipe.strategies.active, parts, dtypes, weights, scheduler


def _machine() -> Callable[[], Reading] | None:
    """What reads the process's memory, where the system tells it."""
    try:
        return meter_for("cpu", "host").read
    except MeterError:
        return None
