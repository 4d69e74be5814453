"""No run ends well with NaN or infinity, and where they began is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from math import inf, nan
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dpnb
from dpnb.errors import DpnbError, NonFiniteError
from dpnb.pipelines.finite import Finiteness, HostCopy
from dpnb.stages import Stage, Step
from dpnb.strategies.strategy import Strategy
from tests.strategies.pipes import FLUX_SAMPLES, ONE_EACH, TINY, build, draw, values

pytestmark = pytest.mark.exhaustive

KINDS = ("tiny-sd", "tiny-sdxl", "tiny-ldm", "tiny-flux", "sag", "img2img", "inpaint", "refiner")
STEPS = 3


@cache
def pipe_of(kind: str) -> Any:
    if kind == "tiny-ldm":
        return dpnb.random_pipeline(kind)
    if kind == "refiner":
        return dpnb.StableDiffusionXLImg2ImgPipeline.from_pipe(build("tiny-sdxl"))
    return build(kind)


def drawn(kind: str, **arguments: Any) -> Any:
    pipe = pipe_of(kind)
    pipe.set_progress_bar_config(disable=True)
    if pipe.picture_inputs:
        arguments = {"strength": 1.0, **arguments}
    if kind == "refiner":
        arguments |= {"image": torch.full((1, 4, 8, 8), -0.5), "denoising_start": 0.1}
    return draw(pipe, STEPS, **{"guidance_scale": 5.0, **arguments})


def layer_of(pipe: Any, stage: Stage) -> nn.Module:
    """A layer that computes in a stage: of a text encoder the first, else the last."""
    encoder, *_, denoiser, autoencoder = pipe.offload_sequence
    parts = pipe.parts()
    if stage is Stage.TEXT:
        return next(m for m in parts[encoder].modules() if isinstance(m, nn.Embedding))
    if stage is Stage.DENOISING:
        network = parts[denoiser]
        return network.proj_out if denoiser == "transformer" else network.conv_out  # type: ignore[no-any-return]
    coder = parts[autoencoder]
    return coder.encoder.conv_out if stage is Stage.ENCODING else coder.decoder.conv_out  # type: ignore[no-any-return]


@contextmanager
def spoilt(layer: nn.Module, value: float, call: int = 0, entry: int = -1) -> Iterator[None]:
    """Within, a layer gives `value` in one place of an entry, in its call of this number."""
    calls: list[None] = []

    def spoil(_: nn.Module, __: Any, output: Tensor) -> Tensor | None:
        calls.append(None)
        if len(calls) <= call:
            return None
        output = output.clone()
        place = (entry, *(0,) * (output.ndim - 2), 1)
        output[place] = value
        return output

    handle = layer.register_forward_hook(spoil)
    try:
        yield
    finally:
        handle.remove()


def stages_of(kind: str) -> tuple[Stage, ...]:
    encodes = (Stage.ENCODING,) if kind in ("img2img", "inpaint") else ()
    return (Stage.TEXT, *encodes, Stage.DENOISING, Stage.DECODING)


CASES = [(kind, stage) for kind in KINDS for stage in stages_of(kind)]


@pytest.mark.parametrize("value", [nan, inf, -inf])
@pytest.mark.parametrize(("kind", "stage"), CASES, ids=[f"{k}-{s.value}" for k, s in CASES])
def test_where_they_began_is_said(kind: str, stage: Stage, value: float) -> None:
    pipe = pipe_of(kind)
    with spoilt(layer_of(pipe, stage), value), pytest.raises(NonFiniteError) as caught:
        drawn(kind)
    assert caught.value.stage == stage.value
    assert caught.value.step == (1 if stage is Stage.DENOISING else None)
    assert isinstance(caught.value, DpnbError)
    assert "gave NaN or infinity" in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_the_step_is_told(kind: str) -> None:
    pipe = pipe_of(kind)
    calls_per_step = 2 if kind == "sag" else 1
    layer = layer_of(pipe, Stage.DENOISING)
    seen = []
    handle = layer.register_forward_hook(lambda *_: seen.append(1))
    drawn(kind)
    handle.remove()
    steps = len(seen) // calls_per_step
    with spoilt(layer, nan, (steps - 1) * calls_per_step), pytest.raises(NonFiniteError) as caught:
        drawn(kind)
    assert caught.value.step == steps
    assert f"Denoising step {steps} of {steps} gave" in str(caught.value)


@pytest.mark.parametrize("output_type", ["pil", "np", "pt"])
def test_no_form_of_pictures_hides_it(output_type: str) -> None:
    pipe = pipe_of("tiny-sd")
    with spoilt(layer_of(pipe, Stage.DECODING), inf), pytest.raises(NonFiniteError):
        pipe("a cat", num_inference_steps=1, output_type=output_type)


@pytest.mark.parametrize("kind", ["tiny-sd", "tiny-sdxl", "tiny-ldm", "tiny-flux", "img2img"])
def test_latents_are_looked_at_too(kind: str) -> None:
    pipe = pipe_of(kind)
    given = {"image": torch.ones(1, 3, 16, 16)} if kind == "img2img" else {}
    with spoilt(layer_of(pipe, Stage.DENOISING), -inf), pytest.raises(NonFiniteError):
        pipe("a cat", num_inference_steps=2, output_type="latent", **given)


@pytest.mark.parametrize(
    ("kind", "stage", "entry"),
    [
        ("tiny-sd", Stage.DENOISING, 1),
        ("tiny-sd", Stage.DENOISING, 4),
        ("tiny-sdxl", Stage.DENOISING, 4),
        ("tiny-flux", Stage.DENOISING, 1),
        ("tiny-ldm", Stage.DECODING, 1),
        ("img2img", Stage.DECODING, 1),
    ],
)
def test_the_picture_of_a_batch_is_told(kind: str, stage: Stage, entry: int) -> None:
    pipe = pipe_of(kind)
    layer = layer_of(pipe, stage)
    with spoilt(layer, nan, entry=entry), pytest.raises(NonFiniteError) as caught:
        drawn(kind, num_images_per_prompt=3)
    assert caught.value.pictures == (1,)
    assert "for picture 2 of 3." in str(caught.value)


def test_what_a_scheduler_makes_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = pipe_of("tiny-sd")

    class Faulty(dpnb.DDIMScheduler):
        def step(self, *args: Any, **kwargs: Any) -> Any:
            latents = super().step(*args, **kwargs)[0]
            return (latents / 0,)

    monkeypatch.setattr(pipe, "scheduler", Faulty(**pipe.scheduler.config))
    with pytest.raises(NonFiniteError, match="the scheduler's settings") as caught:
        drawn("tiny-sd")
    assert caught.value.step == 1


def test_a_clipping_scheduler_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where infinity has become an ordinary number in the latents."""
    pipe = pipe_of("tiny-sd")
    scheduler = dpnb.DDPMScheduler(clip_sample=True)
    monkeypatch.setattr(pipe, "scheduler", scheduler)
    with spoilt(layer_of(pipe, Stage.DENOISING), inf), pytest.raises(NonFiniteError):
        drawn("tiny-sd")


def test_latents_of_a_callback_are_looked_at_and_may_be_mended() -> None:
    def replaced(by: float) -> Callable[..., dict[str, Tensor]]:
        return lambda _, __, ___, seen: {"latents": torch.full_like(seen["latents"], by)}

    with pytest.raises(NonFiniteError, match="Denoising step 1 of 3"):
        drawn("tiny-sd", callback_on_step_end=replaced(nan))
    drawn("tiny-sd", callback_on_step_end=replaced(0.5))


@pytest.mark.parametrize("kind", ["tiny-sd", "tiny-flux"])
@pytest.mark.parametrize("stage", [Stage.TEXT, Stage.DENOISING, Stage.DECODING])
def test_the_pipeline_is_as_it_was(kind: str, stage: Stage) -> None:
    pipe = pipe_of(kind)
    before, weights = drawn(kind), values(pipe)
    with spoilt(layer_of(pipe, stage), nan), pytest.raises(NonFiniteError):
        drawn(kind)
    assert not pipe.strategies.is_running
    assert torch.equal(drawn(kind), before)
    assert all(torch.equal(value, weights[key]) for key, value in values(pipe).items())


SWITCHED = [
    *(("tiny-sd", s) for s in ONE_EACH if not isinstance(s, dpnb.XFormers)),
    *(("tiny-flux", s) for s in FLUX_SAMPLES[-2:]),
]
"""XFormers needs a card."""


@pytest.mark.parametrize(("kind", "strategy"), SWITCHED, ids=[f"{k}-{s}" for k, s in SWITCHED])
def test_no_switch_hides_it(kind: str, strategy: Strategy) -> None:
    pipe = pipe_of(kind)
    # Another autoencoder decodes by weights of its own.
    stages = (Stage.DENOISING,) if strategy == TINY else (Stage.DENOISING, Stage.DECODING)
    for stage in stages:
        bias = layer_of(pipe, stage).bias
        assert isinstance(bias, Tensor)
        kept = bias.data.clone()
        bias.data[0] = nan
        try:
            with pipe.strategies.using(strategy), pytest.raises(NonFiniteError) as caught:
                drawn(kind, num_images_per_prompt=2)
        finally:
            bias.data.copy_(kept)
        assert caught.value.stage == stage.value


def test_a_device_is_not_waited_for_until_the_end() -> None:
    pipe = pipe_of("tiny-sd")
    waited: list[int] = []
    arrived: set[int] = set()

    def send(tensor: Tensor) -> HostCopy:
        number = len(sends)
        sends.append(tensor)
        return HostCopy(tensor, lambda: number in arrived, lambda: waited.append(number))

    sends: list[Tensor] = []
    finiteness = Finiteness(pipe, 2, send)
    good, bad = torch.zeros(2, 4, 8, 8), torch.zeros(2, 4, 8, 8)
    bad[1, 0, 0, 0] = nan
    finiteness.note(Step(Stage.DENOISING, 0, 4), good)
    finiteness.note(Step(Stage.DENOISING, 1, 4), bad)
    finiteness.note(Step(Stage.DENOISING, 2, 4), good)
    assert waited == []
    arrived |= {0, 1}
    with pytest.raises(NonFiniteError, match=r"step 2 of 4 .* for picture 2 of 2"):
        finiteness.note(Step(Stage.DENOISING, 3, 4), good)
    finiteness = Finiteness(pipe, 2, send)
    arrived.clear()
    finiteness.note(Step(Stage.DENOISING, 0, 1), bad)
    with pytest.raises(NonFiniteError, match="Denoising step 1 of 1"):
        finiteness.settle()
    assert len(waited) == 1


@pytest.mark.gpu
def test_no_step_waits_for_the_device() -> None:
    pipe = build("tiny-sd").to("cuda")
    steps = pipe.stream("a cat", num_inference_steps=4, output_type="latent")
    next(steps)
    next(steps)
    torch.cuda.set_sync_debug_mode("error")
    try:
        next(steps)
        next(steps)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    list(steps)


def test_the_remedy_for_a_half_precision_autoencoder_helps() -> None:
    pipe = build("tiny-sd", dtype="float16")
    for part in ("unet", "text_encoder"):
        pipe.parts()[part].to(torch.float32)
    pipe.vae.decoder.conv_in.weight.data.fill_(60000.0)
    with pytest.raises(NonFiniteError) as caught:
        draw(pipe)
    assert caught.value.stage == "decoding"
    remedy = "let it compute in float32, with pipe.vae.to(torch.float32)."
    assert str(caught.value).endswith(remedy)
    pipe.vae.to(torch.float32)
    assert draw(pipe).isfinite().all()


def test_the_remedy_for_a_half_precision_unet_helps() -> None:
    pipe = build("tiny-sd", dtype="float16")
    pipe.unet.conv_in.weight.data.fill_(60000.0)
    with pytest.raises(NonFiniteError, match="unet computed in float16") as caught:
        draw(pipe, output_type="pt")
    assert "use bfloat16, with pipe.to(torch.bfloat16)" in str(caught.value)
    pipe.to(torch.bfloat16)
    draw(pipe, output_type="np")


def test_a_widened_autoencoder_is_not_told_to_be_widened() -> None:
    pipe = build("tiny-sdxl", dtype="float16")
    pipe.unet.to(torch.float32)
    with spoilt(layer_of(pipe, Stage.DECODING), nan), pytest.raises(NonFiniteError) as caught:
        draw(pipe)
    assert "check the weights of vae" in str(caught.value)


def test_arrays_with_nan_are_no_pictures() -> None:
    import numpy as np

    for value in (nan, inf):
        with pytest.raises(ValueError, match="images hold NaN or infinity"):
            dpnb.StableDiffusionPipeline.numpy_to_pil(np.full((2, 2, 3), value))


def test_a_run_that_is_heard_counts_as_failed() -> None:
    pipe = pipe_of("tiny-sd")
    with (
        dpnb.record(pipe, "host") as recorder,
        spoilt(layer_of(pipe, Stage.DENOISING), nan),
        pytest.raises(NonFiniteError),
    ):
        drawn("tiny-sd")
    (run,) = recorder.trace.runs
    assert run.outcome == "failed"
    assert run.error is not None
    assert "Denoising step 1 of 3 gave NaN" in run.error
