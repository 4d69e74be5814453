"""A foreign pipeline has the whole instrument, and is left as it was."""

from __future__ import annotations

import copy
import gc
import inspect
import pickle
from typing import Any
from weakref import ref

import diffusers
import pytest
import torch
from torch import Tensor, nn

import dpnb
from dpnb import AttachError, ChannelsLast, DeviceMap, ModelOffload, SequentialOffload
from dpnb.pipelines.listeners import Run
from dpnb.run_listener import Foresee, RunListener
from dpnb.stages import Stage, Step
from dpnb.strategies.strategy import Strategy
from tests.pipelines.attached.foreign import Notes, arguments, draw, everything_of, picture_of
from tests.reference.checkpoints import pipeline

SIMULATED = "simulated:8GiB/s"

STRATEGIES: tuple[Strategy, ...] = (
    SequentialOffload(device=SIMULATED),
    SequentialOffload(device=SIMULATED, budget="3MiB"),
    ModelOffload(device=SIMULATED),
)


def test_the_picture_is_the_same(pipe: Any) -> None:
    plain = draw(pipe)
    dpnb.attach(pipe)
    assert torch.equal(draw(pipe), plain)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_offloading_keeps_the_picture_and_comes_off(pipe: Any, strategy: Strategy) -> None:
    plain, studio = draw(pipe), dpnb.attach(pipe)
    studio.strategies.enable(strategy)
    assert torch.equal(draw(pipe), plain)
    studio.strategies.use(())
    assert torch.equal(draw(pipe), plain)


def test_a_text_encoder_on_the_disk_is_given_its_words_where_it_computes() -> None:
    pipe = pipeline("sdxl")
    plain, studio = draw(pipe), dpnb.attach(pipe)
    studio.strategies.enable(DeviceMap("disk"))
    assert torch.equal(draw(pipe), plain)
    studio.detach()
    assert "_hf_hook" not in vars(pipe.text_encoder)
    assert torch.equal(draw(pipe), plain)


def test_nothing_is_left_after_detaching(pipe: Any) -> None:
    draw(pipe)
    before, plain = everything_of(pipe), draw(pipe)
    studio = dpnb.attach(pipe)
    for strategy in (*STRATEGIES, ChannelsLast()):
        studio.strategies.enable(strategy)
        draw(pipe)
    studio.detach()
    assert everything_of(pipe) == before
    assert torch.equal(draw(pipe), plain)


def test_a_numbered_component_is_not_the_one_without_a_number() -> None:
    studio = dpnb.attach(pipeline("sdxl"))
    assert studio.offload_sequence == (
        "text_encoder",
        "text_encoder_2",
        "image_encoder",
        "unet",
        "vae",
    )


class Listed:
    """A pipeline of somebody's own, one of whose components is a list."""

    model_cpu_offload_seq = "encoders->network"
    _exclude_from_cpu_offload = ("kept",)

    def __init__(self, network: nn.Module, encoders: list[nn.Module], scheduler: Any) -> None:
        self.network, self.encoders, self.scheduler = network, encoders, scheduler
        self.kept = nn.Linear(2, 2)

    def __call__(self) -> Tensor:
        """Compute with all of them."""
        with torch.no_grad():
            drawn: Tensor = self.network(self.encoders[1](self.encoders[0](torch.ones(1, 2))))
        return drawn


def test_networks_in_a_list_are_moved_where_the_list_stands_in_the_order() -> None:
    pipe = Listed(nn.Linear(2, 2), [nn.Linear(2, 2), nn.Linear(2, 2)], diffusers.DDIMScheduler())
    plain, studio = pipe(), dpnb.attach(pipe)
    order = [name for name, _ in studio.strategies.networks.offload_order()]
    assert order == ["encoders[0]", "encoders[1]", "network"]
    studio.strategies.enable(ModelOffload(device=SIMULATED))
    assert torch.equal(pipe(), plain)
    studio.detach()
    assert type(pipe) is Listed


def _interrupt_after_a_step(studio: Any) -> None:
    for step in studio.stream(**arguments()):
        if step.stage is Stage.DENOISING:
            studio.interrupt_run()


class Stubborn(diffusers.StableDiffusionPipeline):  # type: ignore[misc]
    """A pipeline that has no way to end early."""

    interrupt = None


def test_a_run_that_cannot_end_early_ends_with_an_error_of_its_own(pipe: Any) -> None:
    made = Stubborn(**pipe.components, requires_safety_checker=False)
    made.set_progress_bar_config(disable=True)
    studio = dpnb.attach(made)
    with dpnb.record(made, "tensors") as trace, pytest.raises(dpnb.InterruptedRunError):
        _interrupt_after_a_step(studio)
    assert [run.outcome for run in trace.runs] == ["interrupted"]
    studio.detach()
    assert draw(made).isfinite().all()


def test_it_is_the_same_object_of_the_same_class(pipe: Any) -> None:
    kind, components = type(pipe), pipe.components
    studio = dpnb.attach(pipe)
    assert studio.pipe is pipe
    assert isinstance(pipe, kind)
    assert type(pipe).__name__ == kind.__name__
    assert inspect.signature(pipe.__call__) == inspect.signature(kind.__call__.__get__(pipe))
    assert all(pipe.components[name] is part for name, part in components.items())
    assert dpnb.attach(pipe) is studio
    assert dpnb.attach(studio) is studio
    studio.detach()
    assert type(pipe) is kind


def test_it_says_what_it_is_and_what_is_on(pipe: Any) -> None:
    studio = dpnb.attach(pipe)
    assert repr(studio).startswith("StableDiffusionPipeline, attached, nothing on\n")
    assert "\n  safety_checker: none\n" in repr(studio)
    studio.strategies.enable(ChannelsLast())
    assert "attached, ChannelsLast() on" in repr(studio)
    studio.detach()
    assert repr(studio) == "StableDiffusionPipeline, detached"


def test_a_copy_is_plain(pipe: Any) -> None:
    plain, kind = draw(pipe), type(pipe)
    dpnb.attach(pipe)
    for made in (copy.deepcopy(pipe), pickle.loads(pickle.dumps(pipe))):
        assert type(made) is kind
        assert torch.equal(draw(made), plain)


@pytest.mark.parametrize("plan", [[], [SequentialOffload(device=SIMULATED)]])
def test_a_copy_of_the_instrument_is_attached_to_a_copy(pipe: Any, plan: list[Strategy]) -> None:
    plain, studio = draw(pipe), dpnb.attach(pipe)
    studio.strategies.use(plan)
    for made in (copy.deepcopy(studio), pickle.loads(pickle.dumps(studio))):
        assert made is dpnb.attach(made.pipe)
        assert made.strategies.active == frozenset(plan)
        assert torch.equal(draw(made.pipe), plain)
        made.strategies.use([])
        assert not {*made.pipe.unet.parameters()} & {*pipe.unet.parameters()}
    assert studio.strategies.active == frozenset(plan)
    beside = copy.copy(studio)
    assert beside.pipe.unet is pipe.unet
    beside.strategies.use([])
    assert not studio.strategies.active
    studio.detach()
    assert copy.deepcopy(studio).is_detached


def test_it_is_saved_as_it_was(pipe: Any, tmp_path: Any) -> None:
    plain, studio = draw(pipe), dpnb.attach(pipe)
    studio.strategies.enable(SequentialOffload(device=SIMULATED))
    pipe.save_pretrained(tmp_path)
    loaded = diffusers.DiffusionPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    assert type(loaded) is diffusers.StableDiffusionPipeline
    assert torch.equal(draw(loaded), plain)


def test_runs_are_heard_step_by_step(pipe: Any) -> None:
    notes = Notes()
    dpnb.attach(pipe).watch(notes)
    draw(pipe)
    assert notes.heard == [
        "run",
        "begin text",
        "end text 1/1",
        *[f"{word} denoising" + f" {n}/3" * (word == "end") for n in (1, 2, 3) for word in WORDS],
        "begin decoding",
        "end decoding 1/1",
        "over",
    ]
    assert notes.errors == [None]


WORDS = ("begin", "end")


def test_whoever_stops_listening_hears_nothing(pipe: Any) -> None:
    notes = Notes()
    stop = dpnb.attach(pipe).watch(notes)
    stop()
    draw(pipe)
    assert notes.heard == []


def test_a_stream_hands_over_what_is_done(pipe: Any) -> None:
    plain = draw(pipe)
    steps = list(dpnb.attach(pipe).stream(**arguments()))
    assert [step.stage for step in steps] == [
        Stage.TEXT,
        *[Stage.DENOISING] * 3,
        Stage.DECODING,
    ]
    assert torch.equal(picture_of(steps[-1]), plain)
    assert steps[1].latents is not None
    assert steps[1].latents.shape == (1, 4, 16, 16)


class Strict(diffusers.StableDiffusionPipeline):  # type: ignore[misc]
    """A pipeline that takes nothing but a prompt."""

    def __call__(self, prompt: str) -> Any:
        """Draw."""
        return super().__call__(**arguments(prompt=prompt))


def test_a_stream_refuses_what_the_call_does_not_take(pipe: Any) -> None:
    studio = dpnb.attach(Strict(**pipe.components, requires_safety_checker=False))
    with pytest.raises(TypeError, match="colour"):
        studio.stream(prompt="red", colour="red")
    with pytest.raises(TypeError, match="prompt"):
        studio.stream()
    assert picture_of(list(studio.stream(prompt="red"))[-1]).shape == (1, 3, 32, 32)


def test_a_stream_that_is_left_ends_the_run(pipe: Any) -> None:
    notes, studio = Notes(), dpnb.attach(pipe)
    studio.watch(notes)
    steps = studio.stream(**arguments())
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert isinstance(notes.errors[0], GeneratorExit)
    assert not studio.strategies.is_running
    studio.detach()


def test_what_fails_in_a_run_reaches_whoever_asked(pipe: Any) -> None:
    studio = dpnb.attach(pipe)
    with pytest.raises(ValueError, match="divisible"):
        list(studio.stream(**arguments(height=33)))
    with pytest.raises(ValueError, match="divisible"):
        draw(pipe, height=33)
    assert draw(pipe).isfinite().all()


class Switch(RunListener[Run]):
    """Switches a strategy on after the first denoising step, and off after the next."""

    def __init__(self, strategy: Strategy) -> None:
        self.strategy, self.plans = strategy, [False]
        self.last: Step | None = None

    def end_step(self, run: Run, step: Step) -> None:
        """Remember the step."""
        self.last = step

    def between_steps(self, run: Run) -> None:
        """Switch."""
        if self.last is not None and self.last.stage is Stage.DENOISING:
            run.pipe.strategies.use([self.strategy] if self.last.index == 0 else [])
            self.plans.append(bool(run.pipe.strategies.active))


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_switched_in_the_middle_of_a_run(pipe: Any, strategy: Strategy) -> None:
    plain, studio = draw(pipe), dpnb.attach(pipe)
    switch = Switch(strategy)
    studio.watch(switch)
    assert torch.equal(draw(pipe), plain)
    assert switch.plans == [False, True, False, False]


def test_switched_between_two_steps_of_a_stream(pipe: Any) -> None:
    plain, studio = draw(pipe), dpnb.attach(pipe)
    plans = [frozenset({STRATEGIES[0]}), frozenset(), frozenset({STRATEGIES[2]}), frozenset()]
    steps = []
    for step in studio.stream(**arguments()):
        steps.append(step)
        if plans:
            studio.strategies.use(plans.pop(0))
    assert torch.equal(picture_of(steps[-1]), plain)


def test_a_run_is_interrupted_and_decodes_what_it_has(pipe: Any) -> None:
    studio = dpnb.attach(pipe)
    steps = []
    for step in studio.stream(**arguments(num_inference_steps=8)):
        steps.append(step)
        if step.stage is Stage.DENOISING:
            studio.interrupt_run()
    assert [step.stage for step in steps] == [Stage.TEXT, Stage.DENOISING, Stage.DECODING]
    assert picture_of(steps[-1]).shape == (1, 3, 32, 32)


def test_a_component_that_is_replaced_gets_what_is_on(pipe: Any) -> None:
    studio = dpnb.attach(pipe)
    studio.strategies.enable(SequentialOffload(device=SIMULATED))
    other = copy.deepcopy(diffusers.UNet2DConditionModel.from_config(pipe.unet.config)).eval()
    plain = {name: value.clone() for name, value in other.state_dict().items()}
    pipe.unet = other
    with_other = draw(pipe)
    studio.detach()
    assert torch.equal(draw(pipe), with_other)
    assert all(torch.equal(other.state_dict()[name], value) for name, value in plain.items())


def test_two_attached_pipelines_share_what_is_on(pipe: Any) -> None:
    other = diffusers.StableDiffusionImg2ImgPipeline(**pipe.components)
    one, two = dpnb.attach(pipe), dpnb.attach(other)
    one.strategies.enable(ModelOffload(device=SIMULATED))
    assert two.strategies.active == one.strategies.active
    one.detach()
    assert two.strategies.active
    two.strategies.use(())
    two.detach()
    assert "dpnb_attachment" not in vars(pipe.unet)


def test_detaching_in_a_run_is_refused(pipe: Any) -> None:
    studio = dpnb.attach(pipe)
    steps = studio.stream(**arguments())
    next(steps)
    with pytest.raises(AttachError, match="in the middle of a run"):
        studio.detach()
    list(steps)
    studio.detach()
    studio.detach()


def test_a_run_begins_when_a_stream_waits_in_the_same_thread(pipe: Any) -> None:
    plain, studio = draw(pipe), dpnb.attach(pipe)
    steps = studio.stream(**arguments())
    next(steps)
    assert torch.equal(draw(pipe), plain)
    with pytest.raises(dpnb.RunError):
        list(steps)


def test_nothing_keeps_it_alive(pipe: Any) -> None:
    made = copy.deepcopy(pipe)
    dpnb.attach(made).strategies.enable(SequentialOffload(device=SIMULATED))
    draw(made)
    held, network = ref(made), ref(made.unet)
    del made
    gc.collect()
    assert held() is None
    assert network() is None


def test_a_stream_computes_as_whoever_asks_would(pipe: Any) -> None:
    seen: list[tuple[bool, bool]] = []

    def note(*_: Any) -> dict[str, Tensor]:
        seen.append((torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")))
        return {}

    studio = dpnb.attach(pipe)
    call = arguments(callback_on_step_end=note, num_inference_steps=1)
    list(studio.stream(**call))
    with torch.inference_mode():
        list(studio.stream(**call))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        list(studio.stream(**call))
    assert seen == [(False, False), (True, False), (False, True)]


def test_a_scheduler_that_a_run_replaces_by_a_copy_is_left_plain(pipe: Any) -> None:
    class Replacing(type(pipe)):  # type: ignore[misc]
        """A pipeline that goes on with a copy of its scheduler."""

        scheduler: Any

        def __call__(self, **arguments: Any) -> Any:
            self.scheduler.set_timesteps(2)  # the copy is given three by the run
            self.scheduler = copy.deepcopy(self.scheduler)
            return super().__call__(**arguments)

    notes, made = Notes(), Replacing(**pipe.components, requires_safety_checker=False)
    made.set_progress_bar_config(disable=True)
    studio = dpnb.attach(made)
    studio.watch(notes)
    for _ in range(2):
        draw(made)
    assert sum(heard.startswith("end denoising") for heard in notes.heard) == 6
    studio.detach()
    assert {"step", "set_timesteps", "dpnb_attachment"}.isdisjoint(vars(made.scheduler))


SCHEDULERS = (
    "DDIMScheduler",
    "DPMSolverMultistepScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "PNDMScheduler",
)


@pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")
@pytest.mark.parametrize("name", SCHEDULERS)
def test_what_a_picture_is_going_to_be_is_told_of_every_step(pipe: Any, name: str) -> None:
    class Seer(RunListener[Run]):
        def __init__(self) -> None:
            self.seen: list[tuple[int, Tensor | None]] = []
            self.latents: list[Tensor | None] = []

        def after_prediction(self, run: Run, index: int, foresee: Foresee) -> None:
            self.seen.append((index, foresee()))

        def end_step(self, run: Run, step: Step) -> None:
            if step.stage is Stage.DENOISING:
                self.latents.append(step.latents)

    kind = getattr(diffusers, name)
    pipe.scheduler = kind.from_config(
        pipe.scheduler.config, set_alpha_to_one=True, skip_prk_steps=True
    )
    plain, studio, seer = draw(pipe), dpnb.attach(pipe), Seer()
    unwatch = studio.watch(seer)
    assert torch.equal(draw(pipe), plain)
    unwatch()
    assert [index for index, _ in seer.seen] == list(range(len(seer.latents)))
    assert len(seer.seen) > 1
    last, final = seer.seen[-1][1], seer.latents[-1]
    assert last is not None
    assert final is not None
    assert all(seen is not None and seen.shape == final.shape for _, seen in seer.seen)
    if name not in ("PNDMScheduler", "DPMSolverMultistepScheduler"):
        torch.testing.assert_close(last, final, rtol=1e-3, atol=1e-2)
    studio.detach()
    assert torch.equal(draw(pipe), plain)
