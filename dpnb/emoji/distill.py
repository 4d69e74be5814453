"""Teach a LoRA to draw in a few steps: `python -m dpnb.emoji.distill`.

Its teacher is the model inside, which draws with guidance. From every point of the teacher's path
the network with the LoRA learns to see, at once and without guidance, where the path ends; an LCM
scheduler draws by that in four steps, or in as many as one likes. Ends of paths as targets: Luhman
and Luhman (2021), arXiv:2101.02388. A LoRA that learns it: Luo et al. (2023), arXiv:2311.05556.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dpnb.devices import best_device
from dpnb.emoji import FOLDER
from dpnb.emoji.concepts import load_concepts
from dpnb.emoji.denoiser import compute_alphas_cumprod, compute_loss_weights
from dpnb.emoji.precision import autocast
from dpnb.emoji.samples import Habits, Samples
from dpnb.emoji.trainer import Trainer, TrainingPlan, steps_taken
from dpnb.emoji.workers import Workers, launch
from dpnb.models.unet import UNet2DConditionModel
from dpnb.pipelines.stable_diffusion import StableDiffusionPipeline
from dpnb.schedulers.dpm_solver import DPMSolverMultistepScheduler

LCM_LORA: Path = FOLDER / "lcm_lora"
"""Where it is written, beside the model."""

RANK = 4
"""Of the changes of every layer: 0.4 MB in all."""

SEED = 21
AT_ONCE = 16
STEPS, GUIDANCE = 12, 5.0
SAMPLES = 48


@dataclass(frozen=True)
class Points:
    """Points of the teacher's paths.

    Attributes:
        noisy: latents on the way, `[points, 4, 16, 16]`.
        timesteps: where on the way, `[points]`.
        ends: latents where the paths end, `[points, 4, 16, 16]`.
        states: of the captions' tokens, `[points, 77, 128]`.
    """

    noisy: Tensor
    timesteps: Tensor
    ends: Tensor
    states: Tensor

    def batches(self, count: int) -> Iterator[Points]:
        """All of them, in random order, `count` at a time."""
        for chosen in torch.randperm(len(self.noisy)).split(count):
            parts = (self.noisy, self.timesteps, self.ends, self.states)
            yield Points(*(part[chosen] for part in parts))


@dataclass
class Foresight:
    """The task of seeing where a path ends.

    Attributes:
        unet: the network with peft's layers, which alone are trained.
        points: endless batches of `samples` points.
        samples: in a batch.
    """

    unet: UNet2DConditionModel
    points: Iterator[Points]
    samples: int = SAMPLES
    module: nn.ParameterDict = field(init=False)
    adam_names: ClassVar[tuple[str, ...]] = ("conv_in", "conv_out", "time_emb")

    def __post_init__(self) -> None:
        trained = [(name, p) for name, p in self.unet.named_parameters() if p.requires_grad]
        self.module = nn.ParameterDict({name.replace(".", "/"): p for name, p in trained})
        self.signal = compute_alphas_cumprod().to(self.unet.device)

    def loss(self) -> tuple[Tensor, float]:
        """Weighted loss of a batch, and its plain mean squared error, of velocities."""
        batch = next(self.points)
        signal = self.signal[batch.timesteps]
        wanted = velocity_towards(batch.ends, batch.noisy, signal)
        with autocast(batch.noisy.device):
            predicted: Tensor = self.unet(batch.noisy, batch.timesteps, batch.states).sample
        errors = (predicted.float() - wanted).square().mean(dim=(1, 2, 3))
        weights = compute_loss_weights(signal)
        return (errors * weights / weights.mean()).mean(), errors.detach().mean().item()


def velocity_towards(ends: Tensor, noisy: Tensor, signal: Tensor) -> Tensor:
    """What a network must predict of noisy latents, so that they are seen to end at `ends`."""
    kept = signal.sqrt()[:, None, None, None]
    added = (1 - signal).sqrt()[:, None, None, None]
    return (kept * noisy - ends) / added


def add_layers(unet: UNet2DConditionModel) -> None:
    """Put layers to train beside every matrix and kernel of a network, whose own are frozen."""
    from peft import LoraConfig

    kinds = (nn.Linear, nn.Conv2d)
    layers = [name for name, layer in unet.named_modules() if isinstance(layer, kinds)]
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=layers))


def draw_points(teacher: StableDiffusionPipeline, captions: Iterator[str]) -> Iterator[Points]:
    """Endless batches of points of the teacher's paths, each of them once."""
    while True:
        paths = draw_paths(teacher, list(islice(captions, AT_ONCE)))
        yield from paths.batches(SAMPLES)


@torch.no_grad()
def draw_paths(teacher: StableDiffusionPipeline, captions: list[str]) -> Points:
    """All points of one path for each caption."""
    device = teacher.device
    states, nothing = teacher.encode_prompt(captions, device, 1, True)
    assert nothing is not None
    latents = [torch.randn(len(captions), 4, 16, 16, device=device)]

    def keep(_pipe: Any, _step: int, _timestep: int, values: dict[str, Tensor]) -> dict[str, Any]:
        latents.append(values["latents"].float())
        return {}

    with autocast(device):
        teacher(
            prompt_embeds=states,
            negative_prompt_embeds=nothing,
            latents=latents[0],
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            output_type="latent",
            callback_on_step_end=keep,
        )
    *noisy, ends = latents
    timesteps = teacher.scheduler.timesteps.to(device).repeat_interleave(len(captions))
    turns = len(noisy)
    return Points(
        torch.cat(noisy), timesteps, ends.repeat(turns, 1, 1, 1), states.float().repeat(turns, 1, 1)
    )


def load_teacher(model: Path) -> StableDiffusionPipeline:
    """The model in a folder, with a solver that follows its paths closely in few steps."""
    pipe = StableDiffusionPipeline.from_pretrained(model, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    return pipe


def distil(workers: Workers, options: argparse.Namespace) -> None:
    """Train in one of `workers`; the first one writes the LoRA and says how it goes."""
    torch.manual_seed(SEED)
    device = best_device() if workers.count == 1 else torch.device("cpu")
    teacher = load_teacher(options.model).to(device)
    unet = deepcopy(teacher.unet)
    add_layers(unet)
    steps = steps_taken(options.work)
    torch.manual_seed(SEED + 1 + workers.rank + workers.count * steps)
    start = workers.rank + workers.count * (steps * SAMPLES // STEPS)
    captions = Samples(load_concepts(), Habits(), SEED, start, workers.count).captions()
    task = Foresight(unet, draw_points(teacher, captions))
    plan = TrainingPlan(options.minutes, muon_lr=0.004, adam_lr=1e-3, averaging=0.99)
    trainer = Trainer(task, plan, workers, options.work)
    error = 0.0
    for report in trainer.run():
        error += (report.metric - error) * max(0.02, 1 / report.step)
        if workers.rank == 0 and (report.step % 50 == 0 or report.is_saved):
            print(f"{report.elapsed:5.0f} s, step {report.step}: error {error:.4f}", flush=True)
    if workers.rank == 0:
        write_layers(task, trainer.averaged, options.out)


@torch.no_grad()
def write_layers(task: Foresight, averaged: nn.Module, folder: Path) -> None:
    """Write averaged layers as a LoRA's file, in float16."""
    from peft import get_peft_model_state_dict

    for name, parameter in averaged.named_parameters():
        task.module[name].copy_(parameter)
    tensors = {name: tensor.half() for name, tensor in get_peft_model_state_dict(task.unet).items()}
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=tensors)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m dpnb.emoji.distill")
    parser.add_argument("--model", type=Path, default=FOLDER)
    parser.add_argument("--out", type=Path, default=LCM_LORA)
    parser.add_argument("--work", type=Path, default=Path("distilled.pt"))
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    launch(distil, arguments.processes, arguments)
