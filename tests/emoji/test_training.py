import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dpnb.emoji.autoencoder import build_autoencoder, distance, divergence, standardise_latents
from dpnb.emoji.denoiser import (
    NOISE_PREFERENCE,
    add_noise,
    compute_alphas_cumprod,
    compute_loss_weights,
    sample_timesteps,
)
from dpnb.emoji.muon import Muon, orthogonalise
from dpnb.emoji.precision import autocast, autocast_dtype
from dpnb.emoji.scenes import Shares
from dpnb.emoji.train import draw_samples, parse_options
from dpnb.emoji.trainer import (
    Trainer,
    TrainingPlan,
    learning_rate_factor,
    split_parameters,
    steps_taken,
)
from dpnb.emoji.workers import Workers
from tests.emoji.test_pictures import needs_font


@dataclass
class Line:
    """Learn y = x W."""

    module: nn.Module
    adam_names: tuple[str, ...] = ("1.",)
    samples: int = 32

    def loss(self) -> tuple[Tensor, float]:
        x = torch.randn(self.samples, 8)
        loss = (self.module(x) - x.roll(1, dims=1)).square().mean()
        return loss, loss.item()


def line() -> Line:
    torch.manual_seed(0)
    return Line(nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 8)))


PLAN = TrainingPlan(minutes=1.0, muon_lr=0.05, adam_lr=0.01, averaging=0.9)


def test_an_orthogonalised_matrix_has_singular_values_near_one() -> None:
    torch.manual_seed(0)
    wide = torch.linalg.svdvals(orthogonalise(torch.randn(12, 40)))
    tall = torch.linalg.svdvals(orthogonalise(torch.randn(40, 10))) / 2

    assert wide.min() > 0.5
    assert wide.max() < 1.4
    assert tall.min() > 0.5
    assert tall.max() < 1.4


def test_muon_moves_against_the_gradient() -> None:
    weight = nn.Parameter(torch.eye(4))
    optimizer = Muon([weight], lr=0.1, workers=Workers(), weight_decay=0.0)
    weight.square().sum().backward()
    optimizer.step()

    assert (weight.diagonal() < 1).all()


def test_training_learns_and_resumes_where_it_stopped(tmp_path: Path) -> None:
    checkpoint = tmp_path / "line.pt"
    trainer = Trainer(line(), PLAN, Workers(), checkpoint)
    trainer.elapsed = 20.0
    losses = [trainer.train_step() for _ in range(150)]
    trainer.save()
    resumed = Trainer(line(), PLAN, Workers(), checkpoint)

    assert losses[-1] < losses[0] / 5
    assert (resumed.step, resumed.samples) == (150, 150 * 32)
    for mine, other in zip(trainer.parameters, resumed.parameters, strict=True):
        assert torch.equal(mine, other)


def test_a_finished_plan_trains_no_more(tmp_path: Path) -> None:
    trainer = Trainer(line(), PLAN, Workers(), tmp_path / "line.pt")
    trainer.elapsed = 60.0

    assert list(trainer.run()) == []


def test_a_run_ends_on_time_and_saves(tmp_path: Path) -> None:
    checkpoint = tmp_path / "line.pt"
    plan = TrainingPlan(minutes=0.002, muon_lr=0.05, adam_lr=0.01, averaging=0.9)

    reports = list(Trainer(line(), plan, Workers(), checkpoint).run())

    assert reports[-1].is_saved
    assert reports[-1].elapsed >= 0.12
    assert checkpoint.exists()


def test_only_matrices_that_are_not_named_go_to_muon() -> None:
    matrices, others = split_parameters(line().module, ("1.",))

    assert [tuple(matrix.shape) for matrix in matrices] == [(16, 8)]
    assert len(others) == 3


def test_the_rate_rises_stays_and_falls() -> None:
    progress = (0.0, 0.02, 0.06, 0.5, 0.75, 0.9, 1.0)
    rates = [learning_rate_factor(part, 0.05, 0.25) for part in progress]

    assert rates[0] < rates[1] < rates[2] == rates[3] == rates[4] == 1 > rates[5] > rates[6]
    assert rates[6] == pytest.approx(0.01)


def test_a_longer_plan_goes_on_where_the_rate_was_high(tmp_path: Path) -> None:
    checkpoint = tmp_path / "line.pt"
    first = Trainer(line(), replace(PLAN, minutes=0.001), Workers(), checkpoint)
    *_, last = first.run()
    longer = Trainer(line(), replace(PLAN, minutes=0.01), Workers(), checkpoint)
    longer.train_step()

    assert longer.optimizers[0].param_groups[0]["lr"] == pytest.approx(PLAN.muon_lr)
    assert steps_taken(checkpoint) == last.step
    assert steps_taken(tmp_path / "none.pt") == 0


def test_time_between_the_steps_is_no_training(tmp_path: Path) -> None:
    trainer = Trainer(line(), PLAN, Workers(), tmp_path / "line.pt")
    run = trainer.run()
    next(run)
    time.sleep(0.5)
    report = next(run)

    assert report.elapsed < 0.5
    assert report.rate > 0


@needs_font
def test_a_resumed_run_draws_what_it_has_not_seen(tmp_path: Path) -> None:
    options = parse_options(["--out", str(tmp_path), "--device", "cpu", "--processes", "2"])
    first = draw_samples(options, Workers(1, 2), Shares())
    later = draw_samples(options, Workers(1, 2), Shares(), skipped=5)

    assert first.draw_captions(8)[5:] == later.draw_captions(3)


def test_velocity_and_noisy_latents_give_the_picture_back() -> None:
    torch.manual_seed(0)
    latents, noise = torch.randn(2, 3, 4, 16, 16)
    signal = compute_alphas_cumprod()[torch.tensor([0, 400, 999])]
    noisy, velocity = add_noise(latents, noise, signal)
    kept, added = signal.sqrt()[:, None, None, None], (1 - signal).sqrt()[:, None, None, None]

    torch.testing.assert_close(kept * noisy - added * velocity, latents)
    torch.testing.assert_close(added * noisy + kept * velocity, noise)


def test_the_noise_is_that_of_the_scheduler_that_ships() -> None:
    import diffusers

    scheduler = diffusers.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
    )

    torch.testing.assert_close(compute_alphas_cumprod(), scheduler.alphas_cumprod)


def test_timesteps_prefer_noise() -> None:
    timesteps = sample_timesteps(1000).sort().values

    ends = (torch.arange(1001) / 1000) ** NOISE_PREFERENCE * 1000
    assert (timesteps >= ends[:-1].floor()).all()
    assert (timesteps <= ends[1:]).all()
    assert 0.4 < (timesteps >= 700).float().mean() < 0.5
    assert 0.15 < (timesteps < 400).float().mean() < 0.25


def test_weights_are_one_but_for_the_least_noise() -> None:
    weights = compute_loss_weights(compute_alphas_cumprod())

    assert (weights[200:] == 1).all()
    assert weights[0] < 0.01
    assert (weights.diff() >= 0).all()


def test_perfect_pictures_and_standard_latents_cost_nothing() -> None:
    pictures = torch.rand(2, 3, 8, 8)

    assert distance(pictures, pictures) == 0
    assert divergence(torch.zeros(2, 4), torch.zeros(2, 4)) == 0
    assert divergence(torch.ones(2, 4), torch.zeros(2, 4)) == 0.5


def test_standardised_latents_change_nothing_that_is_restored() -> None:
    torch.manual_seed(0)
    vae = build_autoencoder().eval().requires_grad_(False)
    pictures = torch.rand(6, 3, 64, 64) * 2 - 1
    before = vae.decode(vae.encode(pictures).latent_dist.mode()).sample
    deviations = vae.encode(pictures).latent_dist.std / vae.encode(pictures).latent_dist.mean.std()

    standardise_latents(vae, pictures)

    posterior = vae.encode(pictures).latent_dist
    torch.testing.assert_close(vae.decode(posterior.mode()).sample, before, atol=1e-4, rtol=1e-4)
    latents = posterior.mean * 0.18215
    torch.testing.assert_close(latents.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(latents.std(dim=(0, 2, 3)), torch.ones(4), atol=1e-4, rtol=0)
    assert deviations.shape == posterior.std.shape


def test_a_gpu_takes_one_process_and_larger_batches() -> None:
    options = parse_options(["--out", "folder", "--device", "cuda"])

    assert options.captions > parse_options(["--out", "folder", "--device", "cpu"]).captions
    with pytest.raises(SystemExit):
        parse_options(["--out", "folder", "--device", "cuda", "--processes", "2"])


def test_arithmetic_is_the_one_that_the_device_has() -> None:
    device = torch.device("cpu")
    with autocast(device):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == autocast_dtype(device)
    assert autocast_dtype(torch.device("cuda")) == torch.bfloat16
