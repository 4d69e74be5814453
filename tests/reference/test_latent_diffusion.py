"""The same pictures as diffusers with latent diffusion, and the same codebook."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dpnb
from dpnb.pipelines.shapes.text_encoders import make_bert_tokenizer
from tests.reference import checkpoints
from tests.reference.checkpoints import diffusers
from tests.reference.pictures import assert_same, draw

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

LEVELS = 4
"""Of the autoencoders: 8 pixels for a latent, as the pipeline of diffusers takes for granted."""

CODER: dict[str, Any] = {
    "block_out_channels": (8,) * LEVELS,
    "down_block_types": ("DownEncoderBlock2D",) * LEVELS,
    "up_block_types": ("UpDecoderBlock2D",) * LEVELS,
    "norm_num_groups": 4,
    "latent_channels": 4,
}

Pair = tuple[Any, Any]


def bert() -> Any:
    """A random text encoder of diffusers'."""
    from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import (
        LDMBertConfig,
        LDMBertModel,
    )

    config = LDMBertConfig(
        vocab_size=300,
        encoder_layers=2,
        encoder_ffn_dim=40,
        encoder_attention_heads=2,
        head_dim=6,
        d_model=24,
    )
    encoder: Any = LDMBertModel(config)
    torch.nn.init.normal_(encoder.model.embed_tokens.weight)
    return encoder.eval()


@cache
def pipelines(kind: str) -> Pair:
    """Both libraries' pipelines over the same tensors; `kind` is of the autoencoder."""
    torch.manual_seed(0)
    coder: Any = getattr(diffusers, kind)(**CODER)
    if kind == "VQModel":
        torch.nn.init.normal_(coder.quantize.embedding.weight)
    theirs = diffusers.LDMTextToImagePipeline(
        vqvae=coder.eval(),
        bert=bert(),
        tokenizer=make_bert_tokenizer(77),
        unet=checkpoints.unet("sd1", sample_size=8),
        scheduler=diffusers.DDIMScheduler(**checkpoints.BETAS, clip_sample=False),
    )
    return dpnb.LDMTextToImagePipeline.from_pipe(theirs), theirs


on_codebook = pytest.mark.parametrize("pair", ["VQModel"], indirect=True)


@pytest.fixture(params=["AutoencoderKL", "VQModel"])
def pair(request: pytest.FixtureRequest) -> Pair:
    return pipelines(request.param)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"guidance_scale": 6.0},
        {"guidance_scale": 0.5},
        {"prompt": ["a cat", "two dogs in a car"], "guidance_scale": 3.0},
        {"height": 40, "width": 72},
        {"latents": torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))},
    ],
    ids=lambda arguments: "-".join(arguments),
)
def test_every_argument_means_the_same(pair: Pair, arguments: dict[str, Any]) -> None:
    assert_same(*(draw(pipe, **arguments) for pipe in pair))


@on_codebook
def test_noise_within_a_step_is_that_of_torch(pair: Pair) -> None:
    pictures = []
    for pipe in pair:
        torch.manual_seed(4)
        pictures.append(draw(pipe, generator=None, eta=0.6, guidance_scale=6.0))
    assert_same(*pictures)


@on_codebook
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("PNDMScheduler", {"skip_prk_steps": True}),
        ("DPMSolverMultistepScheduler", {}),
        ("UniPCMultistepScheduler", {}),
    ],
)
def test_every_scheduler_draws_the_same(pair: Pair, name: str, settings: dict[str, Any]) -> None:
    former = [pipe.scheduler for pipe in pair]
    try:
        for pipe, library in zip(pair, (dpnb, diffusers), strict=True):
            kind = getattr(library, name)
            pipe.scheduler = kind.from_config(pipe.scheduler.config, **settings)
        assert_same(*(draw(pipe, guidance_scale=4.0) for pipe in pair))
    finally:
        for pipe, scheduler in zip(pair, former, strict=True):
            pipe.scheduler = scheduler


def test_both_read_what_the_other_has_written(pair: Pair, tmp_path: Path) -> None:
    ours, theirs = pair
    for pipe, library in ((ours, diffusers), (theirs, dpnb)):
        folder = tmp_path / library.__name__
        pipe.save_pretrained(folder)
        again = library.DiffusionPipeline.from_pretrained(folder)
        assert type(again).__name__ == "LDMTextToImagePipeline"
        assert type(again.bert).__module__.startswith(library.__name__)
        assert_same(draw(again, guidance_scale=4.0), draw(theirs, guidance_scale=4.0))
    mine, written = (
        {p.relative_to(tmp_path / n): p.read_text() for p in (tmp_path / n).rglob("*.json")}
        for n in ("diffusers", "dpnb")
    )
    for name in (Path("bert/config.json"), Path("vqvae/config.json"), Path("model_index.json")):
        assert mine[name] == written[name]


def test_the_text_encoder_shows_the_states_of_its_layers() -> None:
    ours, theirs = pipelines("VQModel")
    ids = torch.tensor([[2, 69, 71, 3, 0, 0], [2, 72, 177, 169, 181, 3]])
    mask = (ids != 0).long()
    given = {"input_ids": ids, "attention_mask": mask, "output_hidden_states": True}
    with torch.no_grad():
        one, other = (pipe.bert(**given) for pipe in (ours, theirs))
    assert len(one.hidden_states) == len(other.hidden_states) == 3
    for mine, known in zip(one.hidden_states, other.hidden_states, strict=True):
        assert torch.allclose(mine, known, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"vq_embed_dim": 3, "lookup_from_codebook": True}])
def test_a_codebook_autoencoder_computes_the_same(settings: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(2)
    theirs: Any = diffusers.VQModel(**CODER, **settings).eval()
    torch.nn.init.normal_(theirs.quantize.embedding.weight)
    theirs.save_pretrained(tmp_path / "theirs")
    ours: Any = dpnb.VQModel.from_pretrained(tmp_path / "theirs")
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    ours.save_pretrained(tmp_path / "ours")
    theirs = diffusers.VQModel.from_pretrained(tmp_path / "ours")
    pictures = torch.rand(2, 3, 64, 96) * 2 - 1
    with torch.no_grad():
        latents, known = (model.encode(pictures).latents for model in (ours, theirs))
        assert torch.allclose(latents, known, atol=1e-5)
        for arguments in ({}, {"force_not_quantize": True}):
            given, kept = known, dict[str, Any](arguments)
            if arguments and settings:
                given = torch.randint(256, (2 * 8 * 12,))
                kept = {**arguments, "shape": (2, 8, 12, 3)}
            one, other = (model.decode(given, **kept) for model in (ours, theirs))
            assert np.abs(one.sample - other.sample).max() <= 2e-4
            assert torch.allclose(one.commit_loss, other.commit_loss, atol=1e-5)
        one, other = (model(pictures).sample for model in (ours, theirs))
        assert torch.allclose(one, other, atol=2e-4)
