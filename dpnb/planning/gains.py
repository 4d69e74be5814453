"""Whether what is switched on saves memory or time, as far as is predicted."""

from __future__ import annotations

from dpnb.planning.device_profile import DeviceProfile
from dpnb.planning.simulated_runs import SimulatedRun
from dpnb.planning.step_prediction import predict_resident

GAIN = 0.01
"""What a strategy has to save of memory or time, alone, to be part of plans."""


def gains(base: SimulatedRun, run: SimulatedRun, profile: DeviceProfile, steps: int) -> bool:
    """Whether a stage needs less memory, or a run less time.

    Args:
        base: the run without a strategy.
        run: the run with it.
        profile: of the device.
        steps: of denoising in a whole run.
    """
    before, after = (one.seconds(profile, steps) for one in (base, run))
    is_faster = after < (1 - GAIN) * before
    if is_faster or run.is_uneven:
        return is_faster
    pairs = zip(
        predict_resident(base.steps, base.weights, profile),
        predict_resident(run.steps, run.weights, profile),
        strict=False,
    )
    if any(new.peak < (1 - GAIN) * old.peak for old, new in pairs):
        return True
    steps_of_both = zip(base.steps, run.steps, strict=False)
    return any(new.peak < (1 - GAIN) * old.peak for old, new in steps_of_both)
