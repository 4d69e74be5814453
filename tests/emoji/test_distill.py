"""A LoRA learns to see where the paths of its teacher end."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
import torch

import dpnb
from dpnb.emoji import FOLDER
from dpnb.emoji.denoiser import add_noise, compute_alphas_cumprod
from dpnb.emoji.distill import (
    GUIDANCE,
    STEPS,
    Foresight,
    Points,
    add_layers,
    draw_paths,
    draw_points,
    load_teacher,
    velocity_towards,
    write_layers,
)

PROMPTS = ["a red apple", "cat face"]


@pytest.fixture(scope="module")
def teacher() -> dpnb.StableDiffusionPipeline:
    return load_teacher(FOLDER)


@pytest.fixture(scope="module")
def paths(teacher: dpnb.StableDiffusionPipeline) -> Points:
    torch.manual_seed(0)
    return draw_paths(teacher, PROMPTS)


def test_a_velocity_leads_to_the_end() -> None:
    torch.manual_seed(0)
    ends, noise = torch.randn(2, 3, 4, 16, 16)
    signal = compute_alphas_cumprod()[torch.tensor([50, 400, 999])]
    noisy, velocity = add_noise(ends, noise, signal)

    torch.testing.assert_close(
        velocity_towards(ends, noisy, signal), velocity, atol=1e-4, rtol=1e-4
    )


def test_paths_are_the_teachers(teacher: dpnb.StableDiffusionPipeline, paths: Points) -> None:
    drawn = teacher(
        PROMPTS,
        latents=paths.noisy[:2],
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        output_type="latent",
    ).images

    assert paths.noisy.shape == paths.ends.shape == (2 * STEPS, 4, 16, 16)
    assert paths.states.shape == (2 * STEPS, 77, 128)
    assert paths.timesteps.unique(return_counts=True)[1].tolist() == [2] * STEPS
    # In bfloat16, where the processor has it.
    assert (paths.ends[:2] - drawn).square().mean() < 0.02 * drawn.square().mean()
    assert torch.equal(paths.ends[:2], paths.ends[-2:])


def test_every_point_comes_once(paths: Points) -> None:
    batches = list(paths.batches(10))

    assert [len(batch.noisy) for batch in batches] == [10, 10, 4]
    places = torch.cat([batch.timesteps for batch in batches])
    assert places.sort().values.tolist() == paths.timesteps.sort().values.tolist()
    for batch in batches:
        for noisy, end in zip(batch.noisy, batch.ends, strict=True):
            (where,) = (paths.noisy == noisy).flatten(1).all(dim=1).nonzero()
            assert torch.equal(paths.ends[where[0]], end)


def test_it_learns_and_leaves_the_network_alone(
    teacher: dpnb.StableDiffusionPipeline, paths: Points
) -> None:
    torch.manual_seed(0)
    unet = deepcopy(teacher.unet)
    add_layers(unet)
    task = Foresight(unet, repeat(paths), samples=len(paths.noisy))
    optimizer = torch.optim.Adam(task.module.parameters(), 3e-3)
    errors = []
    for _ in range(10):
        loss, error = task.loss()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(error)

    assert errors[-1] < 0.7 * errors[0]
    plain = teacher.unet.state_dict()
    for name, tensor in unet.state_dict().items():
        if "lora" not in name:
            assert torch.equal(tensor, plain[name.replace(".base_layer", "")])


def test_what_is_written_is_a_lora_that_both_libraries_read(
    teacher: dpnb.StableDiffusionPipeline, paths: Points, tmp_path: Path
) -> None:
    import diffusers

    torch.manual_seed(0)
    unet = deepcopy(teacher.unet)
    add_layers(unet)
    task = Foresight(unet, repeat(paths))
    averaged = deepcopy(task.module)
    with torch.no_grad():
        for parameter in averaged.parameters():
            parameter.copy_(0.2 * torch.randn_like(parameter))
    write_layers(task, averaged, tmp_path)

    (file,) = tmp_path.iterdir()
    assert file.stat().st_size < 500_000
    pictures = []
    for library in (dpnb, diffusers):
        pipe: Any = library.StableDiffusionPipeline.from_pretrained(FOLDER, dtype=torch.float32)
        pipe.set_progress_bar_config(disable=True)
        pipe.scheduler = library.LCMScheduler.from_config(pipe.scheduler.config)
        pictures.append([_draw(pipe)])
        pipe.load_lora_weights(tmp_path)
        pictures[-1].append(_draw(pipe))
    for mine, theirs in zip(*pictures, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-3, rtol=0)
    assert (pictures[0][0] - pictures[0][1]).abs().mean() > 0.01


def _draw(pipe: Any) -> Any:
    return torch.from_numpy(
        pipe(
            PROMPTS,
            num_inference_steps=4,
            guidance_scale=1.0,
            generator=torch.Generator().manual_seed(0),
            output_type="np",
        ).images
    )


def test_paths_go_on_with_other_captions(teacher: dpnb.StableDiffusionPipeline) -> None:
    asked: list[str] = []

    def captions() -> Iterator[str]:
        for number in range(1000):
            asked.append(f"{number} cats")
            yield asked[-1]

    points = draw_points(teacher, captions())
    first = next(points)
    for _ in range(4):
        later = next(points)

    assert len(asked) == 32
    assert len(first.noisy) == len(later.noisy) == 48
