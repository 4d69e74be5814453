"""Laws that every scheduler keeps."""

from __future__ import annotations

import copy
import json
import math
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import dpnb.schedulers
from dpnb.errors import CheckpointError
from dpnb.schedulers import (
    DDIMScheduler,
    DDPMScheduler,
    DiffusionScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
)

DISTILLED = ("LCMScheduler", "TCDScheduler")
NAMES = (*dpnb.schedulers.INTERCHANGEABLE, *DISTILLED)
UNSCALED = (
    "PNDMScheduler",
    "LMSDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "DPMSolverSinglestepScheduler",
    "DEISMultistepScheduler",
)
NOISY = (
    "DDPMScheduler",
    "EulerAncestralDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    *DISTILLED,
)
BLIND = ("PNDMScheduler", "DEISMultistepScheduler", "TCDScheduler", "LCMScheduler")
"""Their steps foresee no original, or by another name."""

WAITING = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "item", "_to_copy")


class NoWaiting(TorchDispatchMode):
    """Refuses every operation that would wait for a device, or copy from one."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func.overloadpacket.__name__.rpartition(".")[2] in WAITING:
            raise AssertionError(f"{func} waits for a device")
        return func(*args, **(kwargs or {}))


def build(name: str, **settings: Any) -> DiffusionScheduler:
    scheduler: DiffusionScheduler = getattr(dpnb.schedulers, name)(**settings)
    return scheduler


def fresh_sample() -> Tensor:
    return torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0))


def run(scheduler: DiffusionScheduler, timesteps: Iterable[Any], sample: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    for t in timesteps:
        output = torch.tanh(scheduler.scale_model_input(sample, t))
        sample = scheduler.step(output, t, sample, generator=generator).prev_sample
    return sample


def run_whole(scheduler: DiffusionScheduler, steps: int = 6) -> Tensor:
    scheduler.set_timesteps(steps)
    return run(scheduler, scheduler.timesteps, fresh_sample())


@pytest.mark.parametrize("name", NAMES)
def test_a_run_gives_the_same_twice(name: str) -> None:
    scheduler = build(name)
    assert torch.equal(run_whole(scheduler), run_whole(scheduler))


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_runs_like_the_original(name: str) -> None:
    scheduler = build(name)
    scheduler.set_timesteps(6)
    twin = copy.deepcopy(scheduler)
    assert torch.equal(run(twin, twin.timesteps, fresh_sample()), run_whole(scheduler))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NOISY])
def test_a_model_that_knows_the_original_leads_to_it(name: str) -> None:
    """Each step is exact for such a model; what noise remains is that of the run's last sigma."""
    ends_clean: dict[str, Any] = {"DDIMScheduler": {"clip_sample": False}}
    ends_clean["PNDMScheduler"] = {"set_alpha_to_one": True, "skip_prk_steps": True}
    scheduler = build(name, beta_schedule="scaled_linear", **ends_clean.get(name, {}))
    scheduler.set_timesteps(20)
    original, noise = fresh_sample(), fresh_sample().flip(0)
    first = scheduler.timesteps[:1]
    sample = scheduler.add_noise(original, noise, first)
    for t in scheduler.timesteps:
        scheduler.scale_model_input(sample, t)
        sample = scheduler.step(noise, t, sample).prev_sample
    remaining = float(vars(scheduler).get("sigmas", torch.zeros(1))[-1])
    expected = (original + remaining * noise) / math.hypot(remaining, 1)
    torch.testing.assert_close(sample, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in BLIND])
def test_the_foreseen_original_is_right_where_the_prediction_is(name: str) -> None:
    scheduler = build(name, beta_schedule="scaled_linear", prediction_type="v_prediction")
    scheduler.set_timesteps(10)
    original, noise = fresh_sample().clamp(-1, 1), fresh_sample().flip(0)
    t = scheduler.timesteps[4]
    scheduler.set_begin_index(4)
    sample = scheduler.add_noise(original, noise, t[None])
    velocity = velocity_at(scheduler, original, noise, t)
    scheduler.scale_model_input(sample, t)
    foreseen = scheduler.step(velocity, t, sample).pred_original_sample
    assert foreseen is not None
    torch.testing.assert_close(foreseen, original, rtol=1e-3, atol=1e-3)


def velocity_at(
    scheduler: DiffusionScheduler, original: Tensor, noise: Tensor, t: Tensor
) -> Tensor:
    """The velocity at the fifth noise level of the run."""
    if not hasattr(scheduler, "sigmas"):
        return scheduler.get_velocity(original, noise, t)
    sigma = float(torch.as_tensor(scheduler.sigmas)[4])
    return (noise - sigma * original) / math.hypot(sigma, 1)


@pytest.mark.parametrize("name", NAMES)
def test_no_step_waits_for_a_device(name: str) -> None:
    scheduler = build(name)
    scheduler.set_timesteps(6)
    with NoWaiting():  # type: ignore[no-untyped-call]
        run(scheduler, scheduler.timesteps, fresh_sample())


@pytest.mark.parametrize("name", NAMES)
def test_a_run_needs_no_values_of_a_device(name: str) -> None:
    scheduler = build(name)
    scheduler.set_timesteps(6, device="meta")
    end = run(scheduler, scheduler.timesteps, fresh_sample().to("meta"))
    assert end.device.type == "meta"


@pytest.mark.parametrize("name", NAMES)
def test_a_run_can_be_rehearsed_on_fake_tensors(name: str) -> None:
    scheduler = build(name)
    with FakeTensorMode():
        scheduler.set_timesteps(6)
        scheduler.set_begin_index(0)
        sample = torch.randn(2, 4, 4, 4)
        sample = scheduler.add_noise(sample, sample, scheduler.timesteps[:1])
        end = run(scheduler, scheduler.timesteps, sample)
    assert end.shape == (2, 4, 4, 4)


@pytest.mark.parametrize("name", NAMES)
def test_timesteps_of_unknown_origin_are_counted_from_the_beginning(name: str) -> None:
    scheduler = build(name)
    scheduler.set_timesteps(6, device="meta")
    scheduler.set_begin_index(0)
    copies = [torch.empty((), device="meta") for _ in scheduler.timesteps]
    run(scheduler, copies, fresh_sample().to("meta"))
    assert scheduler.step_index == len(scheduler.timesteps)


@pytest.mark.parametrize("name", NAMES)
def test_timesteps_may_be_numbers_or_copies(name: str) -> None:
    scheduler = build(name)
    expected = run_whole(scheduler)
    for timesteps in (scheduler.timesteps.tolist(), [t.clone() for t in scheduler.timesteps]):
        scheduler.set_timesteps(6)
        assert torch.equal(run(scheduler, timesteps, fresh_sample()), expected)


@pytest.mark.parametrize("name", NAMES)
def test_a_slice_of_timesteps_begins_where_it_lies(name: str) -> None:
    scheduler = build(name)
    scheduler.set_timesteps(8)
    begin = 2 * scheduler.order
    expected = run(scheduler, scheduler.timesteps[begin:], fresh_sample())
    scheduler.set_timesteps(8)
    scheduler.set_begin_index(begin)
    assert torch.equal(
        run(scheduler, scheduler.timesteps[begin:].clone(), fresh_sample()), expected
    )


@pytest.mark.parametrize("name", ["DDIMScheduler", "DDPMScheduler"])
def test_stateless_steps_may_come_in_any_order(name: str) -> None:
    scheduler = build(name)
    scheduler.set_timesteps(6)
    sample = fresh_sample()

    def step(t: Any) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        return scheduler.step(sample, t, sample, generator=generator).prev_sample

    late, early = step(scheduler.timesteps[4]), step(scheduler.timesteps[1])
    assert torch.equal(step(int(scheduler.timesteps[1])), early)
    assert torch.equal(step(scheduler.timesteps[4]), late)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_gives_a_plain_tuple_where_it_is_asked_for(name: str) -> None:
    scheduler, copy = build(name), build(name)
    sample, generators = fresh_sample(), [torch.Generator().manual_seed(0) for _ in range(2)]
    for one in (scheduler, copy):
        one.set_timesteps(6)
    t = scheduler.timesteps[0]
    output = scheduler.step(sample, t, sample, generator=generators[0])
    plain: Any = copy.step(sample, t, sample, generator=generators[1], return_dict=False)
    assert type(plain) is tuple
    assert output[0] is output.prev_sample is output["prev_sample"]
    assert torch.equal(plain[0], output.prev_sample)


@pytest.mark.parametrize("name", NAMES)
def test_timesteps_go_where_they_are_asked_and_number_the_steps(name: str) -> None:
    scheduler = build(name)
    scheduler.set_timesteps(5, device="meta")
    assert scheduler.timesteps.device.type == "meta"
    assert scheduler.num_inference_steps == 5
    assert len(scheduler) == 1000


@pytest.mark.parametrize("name", NAMES)
def test_saving_and_loading_keeps_the_configuration(name: str, tmp_path: Path) -> None:
    saved = build(name, beta_schedule="scaled_linear", num_train_timesteps=500)
    saved.save_pretrained(tmp_path / "new" / "scheduler")
    loaded = type(saved).from_pretrained(tmp_path / "new", subfolder="scheduler")
    assert loaded.config == saved.config
    written = json.loads((tmp_path / "new" / "scheduler" / "scheduler_config.json").read_text())
    assert written["_class_name"] == name


def test_betas_may_be_an_array_and_are_saved_as_numbers(tmp_path: Path) -> None:
    betas = np.linspace(0.001, 0.02, 10)
    scheduler = DDIMScheduler(trained_betas=betas, num_train_timesteps=10)
    scheduler.save_pretrained(tmp_path)
    assert DDIMScheduler.from_pretrained(tmp_path).config == scheduler.config
    torch.testing.assert_close(scheduler.betas, torch.tensor(betas, dtype=torch.float32))


def test_settings_can_be_changed_while_loading(tmp_path: Path) -> None:
    DDIMScheduler().save_pretrained(tmp_path)
    loaded = EulerDiscreteScheduler.from_pretrained(tmp_path, use_karras_sigmas=True)
    assert loaded.config.use_karras_sigmas


def test_a_folder_without_a_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"scheduler_config\.json"):
        DDIMScheduler.from_pretrained(tmp_path)


def test_what_another_class_knows_comes_back_to_it() -> None:
    heun = HeunDiscreteScheduler(use_karras_sigmas=True, clip_sample=True, beta_end=0.03)
    back = HeunDiscreteScheduler.from_config(DDPMScheduler.from_config(heun.config).config)
    assert back.config == heun.config
    built = DDPMScheduler.from_config(heun.config)
    assert built.config.unknown_settings == {"use_karras_sigmas": True}


def test_what_was_not_given_takes_the_new_classs_default() -> None:
    assert LCMScheduler.from_config(DDIMScheduler().config).config.beta_schedule == "scaled_linear"
    given = DDIMScheduler(beta_schedule="linear").config
    assert LCMScheduler.from_config(given).config.beta_schedule == "linear"


@pytest.mark.parametrize("name", [name for name in NAMES if name not in UNSCALED])
def test_zero_terminal_snr_runs_stay_finite(name: str) -> None:
    scheduler = build(
        name,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        rescale_betas_zero_snr=True,
    )
    assert run_whole(scheduler).isfinite().all()


def test_noise_can_be_added_before_a_run_and_at_several_levels() -> None:
    clean, noise = fresh_sample(), fresh_sample().flip(0)
    for name in NAMES:
        scheduler = build(name)
        timesteps = scheduler.timesteps[[-1, 10]]
        noisy = scheduler.add_noise(clean, noise, timesteps)
        assert torch.equal(noisy[:1], scheduler.add_noise(clean[:1], noise[:1], timesteps[:1]))
        assert (noisy[0] - clean[0]).abs().max() < 0.5


def test_compatible_classes_are_all_but_the_distilled_ones() -> None:
    assert {cls.__name__ for cls in PNDMScheduler().compatibles} == set(NAMES) - {*DISTILLED}
    assert LCMScheduler().compatibles == [LCMScheduler]


def test_importing_the_package_loads_no_torch() -> None:
    script = "import sys, dpnb.schedulers; print('torch' in sys.modules, 'scipy' in sys.modules)"
    assert shown_by(script).split() == ["False", "False"]


@pytest.mark.slow
def test_using_every_scheduler_loads_no_scipy() -> None:
    script = (
        "import sys, dpnb.schedulers as s\n"
        "for name in s.__all__: getattr(s, name)\n"
        "s.LMSDiscreteScheduler(use_beta_sigmas=True).set_timesteps(5)\n"
        "print('scipy' in sys.modules)"
    )
    assert shown_by(script).strip() == "False"


def shown_by(script: str) -> str:
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("steps", [4, 5, 10, 30])
@pytest.mark.parametrize("spacing", ["linspace", "leading", "trailing"])
def test_noise_levels_between_those_of_a_run_are_numbers(spacing: str, steps: int) -> None:
    """The highest of cosine betas is so far above the next that their difference is rounded off."""
    for name in ("KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler"):
        scheduler = build(name, beta_schedule="squaredcos_cap_v2", timestep_spacing=spacing)
        scheduler.set_timesteps(steps)
        assert not scheduler.timesteps.isnan().any()
        assert len(scheduler.timesteps) == 2 * steps - 1
