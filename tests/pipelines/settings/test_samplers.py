from __future__ import annotations

import pytest

import dpnb
from dpnb.pipelines.settings.samplers import (
    MULTISTEP,
    SAMPLERS,
    SCHEDULES,
    SPACING,
    Sampler,
    find_sampler,
    name_sampler,
)

FIRST = {one.name: one for one in reversed(SAMPLERS)}


@pytest.mark.parametrize("sampler", FIRST.values(), ids=FIRST)
@pytest.mark.parametrize("schedule", ["", *SCHEDULES])
def test_what_is_written_is_read_as_the_same_scheduler(sampler: Sampler, schedule: str) -> None:
    settings = {**sampler.settings, **SCHEDULES.get(schedule, {})}
    found, its = find_sampler(*name_sampler(sampler.scheduler, settings))
    assert found == sampler.scheduler
    assert its.items() >= settings.items()
    assert not any(its.get(name) for name in SPACING - settings.keys())


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda one: f"{one.name}-{one.scheduler}")
def test_every_scheduler_of_the_table_is_one_here(sampler: Sampler) -> None:
    kind = getattr(dpnb, sampler.scheduler)
    if sampler.name != "DPM++ SDE":
        kind(**sampler.settings)


def test_names_of_other_programs_mean_the_same() -> None:
    karras = {"use_karras_sigmas": True}
    plain = find_sampler("DPM++ 2M")[1]
    for name, schedule in (
        ("DPM++ 2M Karras", ""),
        ("DPM++ 2M", "Karras"),
        ("DPM++ 2M", "Automatic"),
        ("dpmpp_2m", "karras"),
        ("dpmpp_2m_karras", ""),
        ("dpmpp_2m_k", ""),
        ("k_dpmpp_2m", "karras"),
    ):
        assert find_sampler(name, schedule) == (MULTISTEP, {**plain, **karras}), name
    assert find_sampler("dpmpp_2m", "sgm_uniform")[1]["timestep_spacing"] == "trailing"
    assert find_sampler("Euler", "Automatic") == ("EulerDiscreteScheduler", {})


def test_an_unknown_sampler_is_no_scheduler() -> None:
    assert find_sampler("DPM++ 2S a", "Karras") == (None, {})
    assert find_sampler("") == (None, {})
    assert find_sampler("a, Scheduler") == (None, {})


def test_a_class_without_a_sampler_keeps_its_name() -> None:
    assert name_sampler("EDMEulerScheduler", {}) == ("EDMEulerScheduler", "")
    assert find_sampler("EDMEulerScheduler") == ("EDMEulerScheduler", {})


def test_plain_noise_levels_are_not_taken_for_automatic_ones() -> None:
    assert name_sampler(MULTISTEP, {}) == ("DPM++ 2M", "Uniform")
    assert name_sampler(MULTISTEP, {"algorithm_type": "dpmsolver"}) == (MULTISTEP, "")
    assert name_sampler(
        MULTISTEP, {"algorithm_type": "sde-dpmsolver++", "solver_type": "heun"}
    ) == (
        "DPM++ 2M SDE Heun",
        "Uniform",
    )
