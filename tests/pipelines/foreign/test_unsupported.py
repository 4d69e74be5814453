"""What is not loaded is refused in a sentence, and the way that it names leads there."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import dpnb
from tests.strategies.pipes import build


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tiny-sd", "tiny-sdxl", "tiny-flux", "img2img"])
@pytest.mark.parametrize(
    ("method", "sentence"),
    [
        ("load_textual_inversion", "dpnb loads no textual inversions. Add one by hand"),
        ("unload_textual_inversion", "dpnb loads no textual inversions"),
        ("load_ip_adapter", "dpnb loads no image prompts"),
        ("encode_image", "dpnb loads no image prompts"),
        ("prepare_ip_adapter_image_embeds", "dpnb loads no image prompts"),
    ],
)
def test_a_sentence_is_said(kind: str, method: str, sentence: str) -> None:
    with pytest.raises(NotImplementedError, match=sentence):
        getattr(build(kind), method)("sd-concepts-library/cat-toy", token="<cat>")


def test_what_image_prompts_need_is_refused_alike() -> None:
    pipe: Any = build("tiny-sd")
    assert pipe.maybe_convert_prompt("a cat", pipe.tokenizer) == "a cat"
    for refuse in (pipe.unload_ip_adapter, lambda: pipe.set_ip_adapter_scale(0.5)):
        with pytest.raises(NotImplementedError, match="dpnb loads no image prompts"):
            refuse()


def test_a_token_that_is_added_by_hand_is_drawn() -> None:
    pipe: Any = dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64")
    pipe.set_progress_bar_config(disable=True)
    plain = draw(pipe, "a cat")
    before = len(pipe.tokenizer)
    assert pipe.tokenizer.add_tokens(["<cat>"]) == 1
    pipe.text_encoder.resize_token_embeddings(len(pipe.tokenizer))
    rows = pipe.text_encoder.get_input_embeddings().weight
    assert len(rows) == before + 1
    pictures = []
    for value in (0.0, 5.0):
        rows.data[-1] = torch.full_like(rows[-1], value)
        pictures.append(draw(pipe, "a <cat>"))
    assert not torch.equal(*pictures)
    assert torch.equal(draw(pipe, "a cat"), plain)


def draw(pipe: Any, prompt: str) -> torch.Tensor:
    output = pipe(
        prompt,
        num_inference_steps=2,
        output_type="pt",
        generator=torch.Generator().manual_seed(0),
    )
    return output.images  # type: ignore[no-any-return]


def test_community_pipelines_refuse_in_the_same_words() -> None:
    from dpnb.pipelines.foreign.standins import TextualInversions

    with pytest.raises(NotImplementedError, match="dpnb loads no textual inversion"):
        TextualInversions().load_textual_inversion("a")
    assert issubclass(NotImplementedError, RuntimeError)
    assert dpnb.DiffusionPipeline.load_textual_inversion is not None
