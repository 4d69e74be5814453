"""Final pictures by a tiny autoencoder."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path
from typing import Any
from weakref import ref

import pytest
import torch

import dpnb
from dpnb.errors import NonFiniteError, StrategyError
from dpnb.planning.weight_sizes import WeightSizes, idle_weight_bytes
from dpnb.strategies.tiny_decoder import load_tiny_beside
from tests.reference.foreign import stable_diffusion
from tests.strategies.pipes import LINK, TINY, build, draw


@pytest.mark.parametrize("name", ["tiny-sd", "tiny-sdxl", "sag", "inpaint"])
def test_pictures_are_those_of_a_pipeline_that_has_it(name: str) -> None:
    pipe = build(name)
    plain = draw(pipe)
    latents = draw_latents(pipe)
    with pipe.strategies.using(TINY):
        by_tiny = draw(pipe)
        assert torch.equal(draw_latents(pipe), latents)
    assert "decode" not in vars(pipe.vae)
    assert torch.equal(draw(pipe), plain)
    assert (by_tiny - decode_by_tiny(latents)).abs().max() < 1e-5


def draw_latents(pipe: Any) -> torch.Tensor:
    seed = torch.Generator().manual_seed(0)
    asked = {"num_inference_steps": 2, "output_type": "latent", "generator": seed}
    pictures = {one.argument: one.example(32, 32) for one in pipe.picture_inputs}
    latents: torch.Tensor = pipe("a red fox", **asked, **pictures).images
    return latents


def decode_by_tiny(latents: torch.Tensor) -> torch.Tensor:
    """Pictures of latents `[batch, channels, height, width]`, by the tiny autoencoder itself."""
    tiny: Any = dpnb.AutoencoderTiny.from_pretrained(str(TINY.source))
    with torch.no_grad():
        pictures: torch.Tensor = tiny.decode(latents).sample
    return (pictures / 2 + 0.5).clamp(0, 1).movedim(1, -1)


def test_what_is_encoded_stays_as_it_is() -> None:
    pipe = build("img2img")
    picture = pipe.picture_inputs[0].example(32, 32)
    asked = {"image": picture, "strength": 0.5, "num_inference_steps": 2, "output_type": "latent"}
    latents = [pipe("a fox", generator=torch.Generator().manual_seed(0), **asked).images]
    with pipe.strategies.using(TINY):
        latents.append(pipe("a fox", generator=torch.Generator().manual_seed(0), **asked).images)
    assert torch.equal(*latents)


def test_strips_and_slices_act_on_what_decodes() -> None:
    pipe = build()
    with pipe.strategies.using(TINY):
        whole = draw(pipe, num_images_per_prompt=2)
    with pipe.strategies.using(TINY, dpnb.VaeTiling(8), dpnb.VaeSlicing()):
        assert (draw(pipe, num_images_per_prompt=2) - whole).abs().max() < 1e-5


def test_its_weights_count_where_those_of_networks_do() -> None:
    pipe = build()
    networks = pipe.strategies.networks
    tiny: Any = dpnb.AutoencoderTiny.from_pretrained(str(TINY.source))
    for others in ((), (dpnb.SequentialOffload(device=LINK),)):
        pipe.strategies.use(others)
        before = idle_weight_bytes(networks), WeightSizes.of(networks)
        pipe.strategies.enable(TINY)
        after = idle_weight_bytes(networks), WeightSizes.of(networks)
        assert after[0] - before[0] == tiny.nbytes
        assert after[1].resident - before[1].resident == tiny.nbytes
        assert after[1].kept - before[1].kept == tiny.nbytes
    pipe.strategies.use([])
    assert networks.extra_networks == ()


def test_what_it_decodes_to_no_numbers_is_no_picture(tmp_path: Path) -> None:
    tiny: Any = dpnb.AutoencoderTiny.from_pretrained(str(TINY.source))
    next(tiny.decoder.parameters()).data.fill_(torch.nan)
    tiny.save_pretrained(tmp_path)
    pipe = build()
    pipe.strategies.enable(dpnb.TinyDecoder(str(tmp_path)))
    with pytest.raises(NonFiniteError) as caught:
        draw(pipe)
    assert caught.value.stage == "decoding"


def test_in_the_middle_of_a_run() -> None:
    pipe = build()
    with pipe.strategies.using(TINY):
        by_tiny = draw(pipe)

    def switch(_: Any, index: int, *__: Any) -> dict[str, Any]:
        pipe.strategies.use([TINY] if index else [])
        return {}

    assert torch.equal(draw(pipe, callback_on_step_end=switch), by_tiny)


def test_a_foreign_pipeline_decodes_by_it_as_well() -> None:
    case = stable_diffusion.CASES[0]
    studio = dpnb.attach(case.build())
    plain = case.draw(studio.pipe)
    with studio.strategies.using(TINY):
        assert not torch.equal(case.draw(studio.pipe), plain)
    assert torch.equal(case.draw(studio.pipe), plain)


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    pipe = build()
    with pytest.raises(StrategyError, match=r"no tiny autoencoder beside this model; name a"):
        pipe.strategies.enable(dpnb.TinyDecoder())
    named = dpnb.TinyDecoder(str(tmp_path))
    sentence = str(pipe.strategies.obstacle(named))
    assert sentence.startswith(f"TinyDecoder finds no AutoencoderTiny in {tmp_path} (")
    assert sentence.endswith("name a folder or a repository that has one for this model's latents.")
    with pytest.raises(StrategyError, match="finds no AutoencoderTiny"):
        pipe.strategies.enable(named)
    for name in ("config.json", "diffusion_pytorch_model.safetensors"):
        shutil.copy(Path(str(TINY.source)) / name, tmp_path)
    assert pipe.strategies.obstacle(named) is None
    emoji: Any = dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64")
    with pytest.raises(StrategyError, match="4 channels and 2 pixels a side: this model's have"):
        emoji.strategies.enable(TINY)
    with pytest.raises(TypeError, match="source is 3"):
        dpnb.TinyDecoder(3)  # type: ignore[arg-type]
    assert "decode" not in vars(pipe.vae)


def test_latents_are_scaled_as_the_model_scales_them() -> None:
    plain = build()
    scales = {"latents_mean": [0.1, -0.2, 0.3, 0.0], "latents_std": [1.5, 0.5, 2.0, 1.0]}
    vae = dpnb.AutoencoderKL(**{**plain.vae.config, **scales, "shift_factor": 0.2}).eval()
    vae.load_state_dict(plain.vae.state_dict())
    pipe = type(plain)(**{**plain.components, "vae": vae})
    latents = draw_latents(pipe)
    with pipe.strategies.using(TINY):
        by_tiny = draw(pipe)
    assert (by_tiny - decode_by_tiny(latents)).abs().max() < 1e-4


def test_what_stands_beside_a_model_is_kept_by_those_who_show_it() -> None:
    first = load_tiny_beside("dpnb/emoji-64")
    assert first is load_tiny_beside("dpnb/emoji-64")
    held = ref(first)
    del first
    gc.collect()
    assert held() is None
