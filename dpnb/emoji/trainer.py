"""The training loop: two optimizers, a clock for a schedule, an average of the weights."""

import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from dpnb.atomic import write_atomically
from dpnb.emoji.muon import Muon
from dpnb.emoji.workers import Workers


class Task(Protocol):
    """What is trained."""

    @property
    def module(self) -> nn.Module:
        """Everything that learns."""
        ...

    @property
    def adam_names(self) -> Sequence[str]:
        """Parts of names of weights that Muon must not touch."""
        ...

    @property
    def samples(self) -> int:
        """Samples in one call of `loss`."""
        ...

    def loss(self) -> tuple[Tensor, float]:
        """A fresh batch's loss, and a number to watch."""
        ...


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how fast.

    Attributes:
        minutes: length, in time spent on training. It can be made longer afterwards: but for its
            beginning and its end, the learning rate does not depend on it.
        muon_lr: Muon's peak learning rate.
        adam_lr: AdamW's.
        averaging: share of the averaged weights that one step keeps.
        warm_up: fraction of the time in which the rates rise.
        cool_down: fraction of the time, at the end, in which they fall.
        save_every: seconds between checkpoints.
    """

    minutes: float
    muon_lr: float
    adam_lr: float
    averaging: float
    warm_up: float = 0.03
    cool_down: float = 0.25
    save_every: float = 90.0


@dataclass(frozen=True)
class StepReport:
    """One training step.

    Attributes:
        step: its number, from one.
        elapsed: seconds of training, pauses between runs left out.
        samples: samples seen so far, by all workers.
        rate: samples a second, of all workers, over the last steps.
        metric: this worker's number to watch.
        is_saved: a checkpoint was written after it.
    """

    step: int
    elapsed: float
    samples: int
    rate: float
    metric: float
    is_saved: bool


class Trainer:
    """A task, its optimizers and the running average of its weights.

    Args:
        task: what to train.
        plan: how long and how fast.
        workers: the processes that train together.
        checkpoint: file to resume from, where there is one, and to save to.
    """

    def __init__(self, task: Task, plan: TrainingPlan, workers: Workers, checkpoint: Path) -> None:
        self.task, self.plan, self.workers, self.checkpoint = task, plan, workers, checkpoint
        self.averaged = deepcopy(task.module).eval().requires_grad_(False)
        matrices, others = split_parameters(task.module, task.adam_names)
        self.parameters = [*matrices, *others]
        self.optimizers = (
            Muon(matrices, plan.muon_lr, workers),
            torch.optim.AdamW(others, plan.adam_lr, betas=(0.9, 0.98), weight_decay=0.01),
        )
        self.step, self.elapsed, self.samples = 0, 0.0, 0
        if checkpoint.exists():
            self.load()

    def run(self) -> Iterator[StepReport]:
        """Train until the plan's minutes are over; the last step saves."""
        saved, pace = self.elapsed, 0.0
        while self.elapsed < self.plan.minutes * 60:
            began = time.monotonic()
            metric = self.train_step()
            taken = self.workers.agree(time.monotonic() - began)
            self.elapsed += taken
            pace = taken if pace == 0 else pace + 0.05 * (taken - pace)
            is_over = self.elapsed >= self.plan.minutes * 60
            is_due = is_over or self.elapsed - saved > self.plan.save_every
            if is_due:
                saved = self.elapsed
                self.save()
            rate = self.task.samples * self.workers.count / pace
            yield StepReport(self.step, self.elapsed, self.samples, rate, metric, is_due)

    def train_step(self) -> float:
        """One batch, one move of every weight; returns the number to watch."""
        progress = self.elapsed / (self.plan.minutes * 60)
        factor = learning_rate_factor(progress, self.plan.warm_up, self.plan.cool_down)
        peaks = (self.plan.muon_lr, self.plan.adam_lr)
        for optimizer, peak in zip(self.optimizers, peaks, strict=True):
            optimizer.zero_grad()
            optimizer.param_groups[0]["lr"] = peak * factor
        loss, metric = self.task.loss()
        loss.backward()
        self.workers.average_gradients(self.parameters)
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        self.samples += self.task.samples * self.workers.count
        self.average()
        return metric

    @torch.no_grad()
    def average(self) -> None:
        """Draw the averaged weights towards the present ones, faster in the beginning."""
        share = 1 - min(self.plan.averaging, (1 + self.step) / (10 + self.step))
        pairs = zip(self.averaged.parameters(), self.task.module.parameters(), strict=True)
        for average, parameter in pairs:
            average.lerp_(parameter, share)

    def save(self) -> None:
        """Write everything that resuming needs; only the first worker does."""
        if self.workers.rank:
            return
        state = {
            "module": self.task.module.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progress": (self.step, self.elapsed, self.samples),
        }
        with write_atomically(self.checkpoint) as file:
            torch.save(state, file)

    def load(self) -> None:
        """Take up where `save` left off."""
        state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        self.task.module.load_state_dict(state["module"])
        self.averaged.load_state_dict(state["averaged"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.elapsed, self.samples = state["progress"]


def learning_rate_factor(progress: float, warm_up: float, cool_down: float) -> float:
    """The learning rate's factor at `progress` in [0, 1]: it rises, stays, and falls to 1 %.

    Both slopes are straight. Hägele et al. (2024), arXiv:2405.18392, found this as good as a
    cosine, and a run can go on from any moment before the fall.
    """
    rise = min(1.0, progress / warm_up + 0.01)
    fall = min(1.0, max(0.0, (1 - progress) / cool_down))
    return rise * (0.01 + 0.99 * fall)


def steps_taken(checkpoint: Path) -> int:
    """Steps behind a checkpoint; none where there is no such file."""
    if not checkpoint.exists():
        return 0
    return int(torch.load(checkpoint, map_location="cpu", weights_only=True)["progress"][0])


def split_parameters(
    module: nn.Module, adam_names: Sequence[str]
) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Parameters for Muon (matrices, kernels) and for AdamW (vectors, those of `adam_names`)."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        is_matrix = parameter.ndim > 1 and not any(part in name for part in adam_names)
        (matrices if is_matrix else others).append(parameter)
    return matrices, others
