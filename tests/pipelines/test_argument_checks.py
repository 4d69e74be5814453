"""Texts, embeddings, latents, pictures and generators of a batch go together, or are refused."""

from __future__ import annotations

import logging
from functools import cache
from math import inf, nan
from typing import Any

import pytest
import torch

import dpnb
from tests.pictures import mask, picture
from tests.strategies.pipes import build

pytestmark = pytest.mark.exhaustive

TWO = ["a cat", "a dog"]
KINDS = ("tiny-sd", "tiny-sdxl", "tiny-ldm", "tiny-flux", "img2img", "inpaint", "sag")


@cache
def pipe_of(kind: str) -> Any:
    pipe = dpnb.random_pipeline(kind) if kind == "tiny-ldm" else build(kind)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def stream(kind: str, prompt: Any = "a cat", **arguments: Any) -> Any:
    pipe = pipe_of(kind)
    given = {"image": picture()} if pipe.picture_inputs else {}
    if kind == "inpaint":
        given["mask_image"] = mask()
    return pipe.stream(prompt, num_inference_steps=2, **{**given, **arguments})


def embeds(entries: int, width: int = 32) -> torch.Tensor:
    return torch.zeros(entries, 7, width)


def pooled(entries: int) -> torch.Tensor:
    return torch.zeros(entries, 32)


MISMATCHED: list[tuple[str, dict[str, Any], str]] = [
    *((kind, {"negative_prompt": ["a"]}, "negative_prompt has 1 texts for 2") for kind in KINDS),
    *((kind, {"negative_prompt": ["a"] * 3}, "negative_prompt has 3 texts") for kind in KINDS),
    *((kind, {"negative_prompt": []}, "negative_prompt has 0 texts") for kind in KINDS),
    *(
        (kind, {name: entries}, f"{name} has {len(entries)} texts for 2 prompts; give one for each")
        for kind in ("tiny-sdxl", "tiny-flux", "inpaint")
        for name in ("prompt_2", "negative_prompt_2")
        for entries in (["c"], ["c"] * 3, [])
    ),
    *(
        (kind, {"negative_prompt_embeds": embeds(n)}, f"negative_prompt_embeds has {n} entries for")
        for kind in ("tiny-sd", "tiny-ldm", "img2img", "sag")
        for n in (0, 1, 3)
    ),
    (
        "tiny-sdxl",
        {"negative_prompt_embeds": embeds(3), "negative_pooled_prompt_embeds": pooled(3)},
        "negative_prompt_embeds has 3 entries for 2 prompts",
    ),
    (
        "tiny-sdxl",
        {"negative_prompt_embeds": embeds(2), "negative_pooled_prompt_embeds": pooled(1)},
        "negative_pooled_prompt_embeds has 1 entries for 2 prompts",
    ),
    ("tiny-sdxl", {"pooled_prompt_embeds": pooled(3)}, "pooled_prompt_embeds has 3 entries for 2"),
    *(
        (kind, {"generator": [torch.Generator()] * n}, f"generator is a list of {n}")
        for kind in KINDS
        for n in (0, 1, 3)
    ),
    ("img2img", {"image": [picture()] * 3}, "image holds 3 pictures for 2 that are drawn"),
    ("inpaint", {"image": [picture()] * 3}, "image holds 3 pictures for 2 that are drawn"),
    ("inpaint", {"mask_image": [mask()] * 3}, "mask_image holds 3 pictures for 2 that are drawn"),
    (
        "inpaint",
        {"masked_image_latents": torch.zeros(3, 4, 8, 8), "height": 16, "width": 16},
        r"masked_image_latents has shape \(3, 4, 8, 8\); for 2 pictures of 16 x 16",
    ),
    (
        "inpaint",
        {"masked_image_latents": torch.zeros(2, 4, 4, 8), "height": 16, "width": 16},
        r"it must be \[pictures, channels, 8, 8\]",
    ),
    ("inpaint", {"masked_image_latents": torch.zeros(2, 3, 8, 8)}, "masked_image_latents has 3 ch"),
]


@pytest.mark.parametrize(
    ("kind", "arguments", "sentence"), MISMATCHED, ids=[f"{k}: {s[:40]}" for k, _, s in MISMATCHED]
)
def test_what_does_not_go_together_is_refused(
    kind: str, arguments: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        stream(kind, TWO, **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_latents_of_another_number_of_pictures_are_refused(kind: str) -> None:
    given = {"latents": torch.zeros(3, 4, 8, 8), "height": 16, "width": 16}
    if kind in ("tiny-flux", "inpaint", "img2img"):
        with pytest.raises(ValueError, match=r"latents has shape \(3, 4, 8, 8\)"):
            list(stream(kind, TWO, **given))
    else:
        with pytest.raises(ValueError, match=r"latents has shape \(3, 4, 8, 8\); for 2 pictures"):
            list(stream(kind, TWO, **given))


@pytest.mark.parametrize("kind", ["tiny-sd", "tiny-sdxl", "tiny-flux", "inpaint"])
def test_what_goes_together_is_drawn(kind: str) -> None:
    second = {"prompt_2": ["c", "d"]} if kind != "tiny-sd" else {}
    lists = {"negative_prompt": ["x", "y"], "generator": [torch.Generator()] * 2}
    *_, last = stream(kind, TWO, output_type="np", **second, **lists)
    assert len(last.output.images) == 2


BAD_TENSORS: list[tuple[str, dict[str, Any], str]] = [
    *(
        (kind, {name: torch.full(shape, value)}, f"{name} holds NaN or infinity; give finite")
        for value in (nan, inf, -inf)
        for kind, name, shape in (
            ("tiny-sd", "latents", (1, 4, 8, 8)),
            ("tiny-flux", "latents", (1, 4, 8, 8)),
            ("img2img", "latents", (1, 4, 8, 12)),
            ("inpaint", "masked_image_latents", (1, 4, 8, 12)),
            ("tiny-sd", "negative_prompt_embeds", (1, 7, 32)),
            ("tiny-ldm", "negative_prompt_embeds", (1, 7, 32)),
        )
    ),
    ("tiny-sd", {"latents": [[0.0]]}, "latents is of list; give a tensor of floating-point"),
    ("tiny-sd", {"latents": torch.zeros(1, 4, 8, 8, dtype=torch.long)}, "latents is of torch.int6"),
    ("tiny-sd", {"negative_prompt_embeds": embeds(1)[0]}, r"negative_prompt_embeds has shape \(7,"),
    ("tiny-sd", {"negative_prompt_embeds": embeds(1, 5)}, "negative_prompt_embeds has 5 channels"),
    ("tiny-ldm", {"negative_prompt_embeds": embeds(1, 5)}, "has 5 channels, and the UNet takes"),
    ("tiny-sdxl", {"pooled_prompt_embeds": embeds(1)}, r"it must be \[batch, channels\]"),
    ("tiny-sd", {"generator": 7}, "generator is 7; make one with torch.Generator"),
    ("tiny-sd", {"generator": [7]}, "generator is 7"),
    ("tiny-flux", {"generator": (torch.Generator(),)}, r"generator is \(<torch"),
]


@pytest.mark.parametrize(
    ("kind", "arguments", "sentence"),
    BAD_TENSORS,
    ids=[f"{k}: {s[:40]}" for k, _, s in BAD_TENSORS],
)
def test_what_is_no_such_tensor_is_refused(
    kind: str, arguments: dict[str, Any], sentence: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=sentence):
        stream(kind, **arguments)


def test_embeddings_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="give both as embeddings of one shape"):
        list(stream("tiny-sd", None, prompt_embeds=embeds(1)))


HARD = {
    "a lone surrogate": ("a \ud800 cat", "prompt holds a lone surrogate, which is half of"),
    "a surrogate in a list": (["a", "\udfff"], "prompt holds a lone surrogate"),
    "five megabytes": ("cat " * 1_250_000, "prompt has 5000000 characters, of which a text enc"),
    "one long word": ("a" * 20_001, "prompt has 20001 characters"),
    "bytes": (b"cat", "prompt must be text or a list of texts, not b'cat' of type bytes"),
    "a tuple": (("a", "b"), "prompt must be text or a list of texts"),
    "a list in a list": ([["a"]], "prompt must be text or a list of texts"),
    "no text in a list": (["a", None], "prompt must be text or a list of texts, not None"),
    "much else": ({"a": "b" * 9999}, "prompt must be text or a list of texts"),
}


@pytest.mark.parametrize("case", HARD)
@pytest.mark.parametrize("kind", ["tiny-sd", "tiny-sdxl", "tiny-ldm", "tiny-flux"])
def test_what_is_no_prompt_is_refused(kind: str, case: str) -> None:
    prompt, sentence = HARD[case]
    with pytest.raises((ValueError, TypeError), match=sentence) as caught:
        stream(kind, prompt)
    assert len(str(caught.value)) < 300
    names = ["negative_prompt"]
    if kind in ("tiny-sdxl", "tiny-flux"):
        names += ["prompt_2", "negative_prompt_2"]
    for name in names:
        with pytest.raises((ValueError, TypeError), match=sentence.replace("prompt", name, 1)):
            stream(
                kind, ["a cat"] * len(prompt) if isinstance(prompt, list) else "a", **{name: prompt}
            )


@pytest.mark.parametrize("kind", ["tiny-sd", "tiny-sdxl", "tiny-ldm", "tiny-flux"])
@pytest.mark.parametrize("prompt", ["", " ", "\x00", "a\x00b", "\ufeff", "🦊" * 50, "é\u0301" * 99])
def test_odd_prompts_are_drawn(kind: str, prompt: str) -> None:
    *_, last = stream(kind, prompt, output_type="latent", height=16, width=16)
    assert last.output.images.isfinite().all()


def test_what_is_cut_off_is_said_briefly(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        list(stream("tiny-sd", "red fox " * 2000, output_type="latent"))
    (said,) = (record.getMessage() for record in caplog.records)
    assert "is longer than the" in said
    assert len(said) < 600
