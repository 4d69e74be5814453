"""Laws of DEIS and of the integrals that its steps take."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dpnb.schedulers import DEISMultistepScheduler, DPMSolverMultistepScheduler
from dpnb.schedulers.quadrature import integrate_polynomials


@pytest.mark.parametrize("rate", [-1.0, 1.0, 2.0])
@pytest.mark.parametrize("nodes", [[0.3], [0.3, -0.4], [0.3, -0.4, -1.5], [0.9, 0.3, -0.4, -1.5]])
def test_integrals_are_those_of_a_fine_sum(nodes: list[float], rate: float) -> None:
    start, end = 0.3, 0.9
    edges = np.linspace(start, end, 20_001)
    places = (edges[1:] + edges[:-1]) / 2
    for which, weight in enumerate(integrate_polynomials(nodes, start, end, rate)):
        values = np.exp(rate * (places - end))
        for other in (node for node in nodes if node != nodes[which]):
            values = values * (places - other) / (nodes[which] - other)
        assert weight == pytest.approx(float(values.mean() * (end - start)), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("nodes", [[0.3], [0.3, -0.4], [0.3, -0.4, -1.5]])
def test_a_way_of_no_length_integrates_to_nothing(nodes: list[float]) -> None:
    assert integrate_polynomials(nodes, 0.3, 0.3, -1.0) == pytest.approx([0.0] * len(nodes))


def test_first_order_is_that_of_dpm_solver_in_noise() -> None:
    ours = DEISMultistepScheduler(solver_order=1)
    plain = DPMSolverMultistepScheduler(
        solver_order=1, algorithm_type="dpmsolver", final_sigmas_type="sigma_min"
    )
    ends = []
    for scheduler in (ours, plain):
        scheduler.set_timesteps(20)
        sample = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
        for t in scheduler.timesteps:
            sample = scheduler.step(torch.tanh(sample), t, sample).prev_sample
        ends.append(sample)
    torch.testing.assert_close(*ends)


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="solver_order is 4; choose 1, 2 or 3"):
        DEISMultistepScheduler(solver_order=4)
    with pytest.raises(ValueError, match="algorithm_type is 'rk'; it must be one of deis"):
        DEISMultistepScheduler(algorithm_type="rk")
    assert DEISMultistepScheduler(algorithm_type="dpmsolver").config.algorithm_type == "deis"
