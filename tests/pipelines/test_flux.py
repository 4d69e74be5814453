from __future__ import annotations

import inspect
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import dpnb
from dpnb.errors import ComponentError, StrategyError
from dpnb.pipelines.flux_patches import pack, positions, unpack
from dpnb.pipelines.pictures.previews import LatentColours, decode_preview
from dpnb.stages import Stage
from tests.strategies.pipes import build

STEPS = {"num_inference_steps": 3, "output_type": "np"}


@pytest.fixture(scope="module")
def pipe() -> Any:
    return build("tiny-flux")


@pytest.fixture(scope="module")
def folder(pipe: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("flux")
    pipe.save_pretrained(target, max_shard_size="100KB")
    return target


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("length", [1, 16, 100, 512])
def test_as_many_tokens_are_read_as_were_asked_for(
    pipe: Any, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for own in (16, 77, 1024):
        monkeypatch.setattr(pipe.tokenizer_2, "model_max_length", own)
        embeds, _, places = pipe.encode_prompt("a cat", max_sequence_length=length)
        assert embeds.shape[1] == len(places) == length


@pytest.mark.parametrize(
    ("kind", "optional"),
    [
        (dpnb.FluxPipeline, ["image_encoder", "feature_extractor"]),
        (dpnb.FluxControlPipeline, []),
    ],
)
def test_text_parts_may_be_absent_and_are_no_optional_ones(
    kind: Any, optional: list[str], pipe: Any
) -> None:
    absent = dict.fromkeys(["tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2"])
    own = {"scheduler": pipe.scheduler, "vae": pipe.vae, "transformer": pipe.transformer}
    without = kind(**own, **absent)
    assert without._optional_components == optional
    assert without.text_encoder is None


def test_packing_is_undone_by_unpacking() -> None:
    maps = torch.randn(2, 4, 6, 8)
    tokens = pack(maps)
    assert tokens.shape == (2, 12, 16)
    assert torch.equal(unpack(tokens, 6, 8), maps)
    assert torch.equal(tokens[0, 5].view(4, 2, 2), maps[0, :, 2:4, 2:4])


def test_positions_go_row_by_row_after_the_text() -> None:
    places = positions(2, 4, 6, torch.device("cpu")).tolist()
    assert places[:3] == [[0, 0, 0]] * 3
    assert places[3:6] == [[0, 0, 1], [0, 0, 2], [0, 1, 0]]
    assert len(places) == 2 + 6


def test_a_stream_shows_feature_maps_that_can_be_drawn_from(pipe: Any) -> None:
    called = pipe("a cat", generator=seeded(), **STEPS).images
    steps = list(pipe.stream("a cat", generator=seeded(), **STEPS))
    assert [s.stage for s in steps] == [Stage.TEXT, *[Stage.DENOISING] * 3, Stage.DECODING]
    assert np.array_equal(steps[-1].output.images, called)
    latents = steps[-1].latents
    assert latents is not None
    assert latents.shape == (1, 4, 16, 16)
    [picture] = decode_preview(pipe, latents)
    assert np.array_equal(np.asarray(picture), (called[0] * 255).round())
    pictures = torch.from_numpy(called).movedim(-1, 1) * 2 - 1
    assert LatentColours.fit(latents, pictures).images(latents)[0].size == (16, 16)


def test_latents_may_be_changed_between_two_steps_and_given_in_both_forms(pipe: Any) -> None:
    plain = pipe("a cat", generator=seeded(), **STEPS).images
    for step in pipe.stream("a cat", generator=seeded(), **STEPS):
        if step.stage is Stage.DENOISING:
            step.latents.mul_(0.9)
    assert not np.array_equal(step.output.images, plain)
    noise = torch.randn(1, 4, 16, 16, generator=seeded())
    for latents in (noise, pack(noise)):
        assert np.array_equal(pipe("a cat", latents=latents, **STEPS).images, plain)


def test_a_callback_may_overwrite_packed_latents(pipe: Any) -> None:
    def overwrite(_: Any, __: int, ___: Tensor, tensors: dict[str, Tensor]) -> None:
        assert tensors["latents"].shape == (1, 64, 16)
        tensors["latents"].mul_(0.9)

    plain = pipe("a cat", generator=seeded(), **STEPS).images
    seen = pipe("a cat", generator=seeded(), callback_on_step_end=overwrite, **STEPS).images
    assert not np.array_equal(seen, plain)


def test_an_interrupt_goes_straight_to_decoding(pipe: Any) -> None:
    def stop(pipe: Any, *_: Any) -> None:
        pipe._interrupt = True

    assert pipe("a cat", callback_on_step_end=stop, **STEPS).images.shape == (1, 32, 32, 3)
    pipe("a cat", **STEPS)
    assert pipe.num_timesteps == 3


def test_every_step_is_measured(pipe: Any) -> None:
    with dpnb.record(pipe, "tensors") as trace:
        pipe("a cat", **STEPS)
    assert trace.by_stage()["denoising"].peak > 0
    assert len(trace.steps) == 5


@pytest.mark.slow
def test_a_plan_can_be_swept(pipe: Any) -> None:
    plans = [dpnb.QKVFusion(), dpnb.ConditioningCache()]
    workload = dpnb.Workload(height=16, width=16, steps=2)
    report = dpnb.sweep(pipe, plans, workload, device="cpu", repeats=1, progress=False)
    differences = [measured.difference for measured in report.measurements]
    assert differences == pytest.approx([0.0] * 3, abs=1e-5)


def test_what_it_was_made_for_is_its_size(pipe: Any) -> None:
    assert pipe.default_size() == (32, 32)
    assert pipe.size_unit == 2 * pipe.vae_scale_factor == 4
    settings = {key: value for key, value in pipe.vae.config.items() if key != "sample_size"}
    other: Any = dpnb.FluxPipeline.from_pipe(pipe, vae=dpnb.AutoencoderKL(**settings))
    assert other.default_size() == (256, 256)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"height": 3}, "height is 3; it must be a positive multiple of 4, such as 4"),
        ({"width": -8}, "width is -8"),
        ({"max_sequence_length": 513}, "max_sequence_length is 513; it is a number of tokens"),
        ({"max_sequence_length": 0}, "from 1 to 512"),
        ({"prompt_embeds": torch.zeros(1, 4, 24), "prompt": None}, "without its pooled"),
        ({"prompt_embeds": torch.zeros(1, 4, 24)}, "prompt and its embeddings are both given"),
        ({"prompt": None}, "there is nothing to draw"),
        ({"sigmas": [0.2, 0.9]}, "must descend"),
        ({"latents": torch.zeros(1, 9, 16)}, r"it must be \(1, 64, 16\), or \(1, 4, 16, 16\)"),
        ({"callback_on_step_end_tensor_inputs": ["pooled"]}, "this pipeline has latents"),
        ({"prompt_2": ["a", "b"]}, "prompt_2 has 2 texts for 1 prompts"),
        (
            {
                "negative_prompt_embeds": torch.zeros(1, 4, 9),
                "negative_pooled_prompt_embeds": torch.zeros(1, 32),
            },
            "negative_prompt_embeds has 9 channels, and the transformer takes 24",
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_drawn_is_refused(
    pipe: Any, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        pipe(**{"prompt": "a cat", **STEPS, **arguments})


def test_a_size_that_tokens_do_not_fill_is_made_smaller(
    pipe: Any, caplog: pytest.LogCaptureFixture
) -> None:
    drawn = pipe("a cat", **{**STEPS, "height": 39, "width": 36, "output_type": "np"}).images
    assert drawn.shape[1:3] == (36, 36)
    assert "height is 39, and FLUX draws multiples of 4 pixels: 36 are drawn." in caplog.text
    assert "width" not in caplog.text
    pipe.check_inputs("a cat", None, 39, 36)


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_a_negative_prompt_may_have_another_length(pipe: Any, scale: float) -> None:
    made = []
    for length in (4, 7):
        torch.manual_seed(0)
        drawn = pipe(
            prompt_embeds=torch.ones(1, 4, 24),
            pooled_prompt_embeds=torch.ones(1, 32),
            negative_prompt_embeds=torch.linspace(0, 1, length)[None, :, None].expand(1, -1, 24),
            negative_pooled_prompt_embeds=torch.zeros(1, 32),
            true_cfg_scale=scale,
            **STEPS,
        )
        made.append(drawn.images)
    assert np.array_equal(*made) == (scale == 1.0)


def test_sigmas_say_how_many_steps_there_are(pipe: Any) -> None:
    given = {**STEPS, "sigmas": [1.0, 0.5], "num_inference_steps": None}
    pipe("a cat", **given)
    assert pipe.num_timesteps == 2


@pytest.mark.parametrize("name", ["eta", "clip_skip", "guidance_rescale", "timesteps"])
def test_what_it_does_not_have_is_no_argument(pipe: Any, name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} is not an argument of this pipeline; it takes"):
        pipe("a cat", **{name: 1})
    assert name not in inspect.signature(pipe.__call__).parameters
    assert "true_cfg_scale" in inspect.signature(pipe.__call__).parameters


@pytest.mark.parametrize("name", ["text_encoder_2", "tokenizer_2", "text_encoder"])
def test_a_missing_encoder_is_named(pipe: Any, name: str) -> None:
    half: Any = dpnb.FluxPipeline.from_pipe(pipe, **{name: None})
    with pytest.raises(ComponentError, match=f"there is no {name} to encode a prompt with"):
        half("a cat", **STEPS)
    embeds = {"prompt_embeds": torch.zeros(1, 4, 24), "pooled_prompt_embeds": torch.zeros(1, 32)}
    assert half(**embeds, **STEPS).images.shape == (1, 32, 32, 3)
    with pytest.raises(ComponentError, match=f"there is no {name}"):
        half(**embeds, negative_prompt="dull", true_cfg_scale=2.0, **STEPS)


def test_another_kind_of_scheduler_or_no_network_is_refused(pipe: Any) -> None:
    other: Any = dpnb.FluxPipeline.from_pipe(pipe, scheduler=dpnb.DDIMScheduler())
    with pytest.raises(ComponentError, match="follows a flow, and DDIMScheduler does not"):
        other("a cat", **STEPS)
    half: Any = dpnb.FluxPipeline.from_pipe(pipe, transformer=None)
    with pytest.raises(ComponentError, match="there is no transformer to draw with"):
        half("a cat", **STEPS)


def test_the_command_line_draws_with_it(folder: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from dpnb.cli import app

    target = tmp_path / "cat.png"
    arguments = ["draw", "a cat", "--model", str(folder), "--steps", "2", "--out", str(target)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    assert target.is_file()


def test_without_an_autoencoder_latents_are_the_output(pipe: Any) -> None:
    half: Any = dpnb.FluxPipeline.from_pipe(pipe, vae=None)
    half.set_progress_bar_config(disable=True)
    with pytest.raises(ComponentError, match="there is no vae to make pictures with"):
        half("a cat", **STEPS)
    size: dict[str, Any] = {"height": 32, "width": 64, "num_inference_steps": 1}
    latents = half("a cat", **size, output_type="latent").images
    assert latents.shape == (1, 8, 16)


def test_a_negative_prompt_without_effect_is_reported(
    pipe: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        pipe("a cat", negative_prompt="dull", **STEPS)
    assert "has no effect while true_cfg_scale is 1.0" in caplog.text


def test_a_network_without_guidance_ignores_its_scale(pipe: Any) -> None:
    settings = {**pipe.transformer.config, "guidance_embeds": False}
    transformer = dpnb.FluxTransformer2DModel(**settings).eval()
    schnell: Any = dpnb.FluxPipeline.from_pipe(pipe, transformer=transformer)
    schnell.set_progress_bar_config(disable=True)
    drawn = [
        schnell("a cat", generator=seeded(), guidance_scale=scale, **STEPS).images
        for scale in (0.0, 9.0)
    ]
    assert np.array_equal(*drawn)


def test_every_component_may_have_its_own_dtype(folder: Path) -> None:
    dtypes = {"text_encoder_2": torch.float32, "default": torch.bfloat16}
    mixed = dpnb.DiffusionPipeline.from_pretrained(folder, dtype=dtypes)
    assert mixed.text_encoder_2.dtype is torch.float32
    assert mixed.transformer.dtype is mixed.vae.dtype is torch.bfloat16
    mixed.set_progress_bar_config(disable=True)
    assert np.isfinite(mixed("a cat", **STEPS).images).all()


def test_one_file_holds_all_of_it(pipe: Any, tmp_path: Path) -> None:
    file = tmp_path / "flux.dduf"
    pipe.save_pretrained(file)
    again = dpnb.DiffusionPipeline.from_pretrained(file)
    again.set_progress_bar_config(disable=True)
    expected = pipe("a cat", generator=seeded(), **STEPS).images
    assert np.array_equal(again("a cat", generator=seeded(), **STEPS).images, expected)
    embedding = again.text_encoder_2.shared.weight
    assert again.text_encoder_2.encoder.embed_tokens.weight is embedding


def test_a_pipeline_shares_its_parts_with_another(pipe: Any) -> None:
    twin: Any = dpnb.FluxPipeline.from_pipe(pipe)
    pipe.fuse_qkv_projections()
    assert twin.strategies.active == pipe.strategies.active == {dpnb.QKVFusion()}
    twin.unfuse_qkv_projections()
    assert not pipe.strategies.active


def test_a_strategy_that_needs_a_unet_says_so(pipe: Any) -> None:
    with pytest.raises(StrategyError, match="FreeU needs a UNet with up-blocks"):
        pipe.enable_freeu(0.9, 0.2, 1.2, 1.4)
    assert not pipe.strategies.active
