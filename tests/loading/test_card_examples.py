"""Calls are found in a card's code, with the numbers that are plain to see."""

from __future__ import annotations

import pytest

from dpnb.loading.card_examples import CardExample, find_examples
from tests.cards import BROKEN, LORA, NOTEBOOK, QWEN_IMAGE, SD35_TURBO, WAN, Z_IMAGE_TURBO

LOAD = 'pipe = FoxPipeline.from_pretrained("someone/fox")\n'


def examples(code: str) -> tuple[CardExample, ...]:
    """What is found in one block."""
    return find_examples(f"```python\n{code}\n```")


def numbers(code: str) -> dict[str, float]:
    """Of the last example."""
    return known(examples(code)[-1])


def known(example: CardExample) -> dict[str, float]:
    """The arguments whose number is known."""
    return {name: value for name, value in example.arguments.items() if value is not None}


def test_a_turbo_model_shows_its_steps() -> None:
    [example] = find_examples(Z_IMAGE_TURBO)
    assert (example.class_name, example.repository) == (
        "ZImagePipeline",
        "Tongyi-MAI/Z-Image-Turbo",
    )
    assert known(example) == {
        "height": 1024,
        "width": 1024,
        "num_inference_steps": 9,
        "guidance_scale": 0.0,
    }
    assert {"prompt", "generator"} <= example.arguments.keys()


def test_a_size_is_looked_up() -> None:
    [example] = find_examples(QWEN_IMAGE)
    assert (example.class_name, example.repository) == ("DiffusionPipeline", "Qwen/Qwen-Image")
    assert known(example) == {
        "width": 1664,
        "height": 928,
        "num_inference_steps": 50,
        "true_cfg_scale": 4.0,
    }


def test_a_video_has_frames() -> None:
    [example] = find_examples(WAN)
    assert known(example)["num_frames"] == 81
    assert (known(example)["height"], known(example)["guidance_scale_2"]) == (480, 3.0)


def test_a_card_may_have_several() -> None:
    found = find_examples(SD35_TURBO)
    assert [known(example)["num_inference_steps"] for example in found] == [4, 5]
    assert found[0].repository == found[1].repository


def test_weights_of_a_lora_are_noticed() -> None:
    assert [example.is_adapted for example in find_examples(LORA)] == [True]


def test_a_broken_block_is_passed_over() -> None:
    assert [known(example) for example in find_examples(BROKEN)] == [{"num_inference_steps": 6}]


def test_a_block_goes_on_where_the_last_one_ended() -> None:
    [example] = find_examples(NOTEBOOK)
    assert example.class_name == "ZImagePipeline"
    assert known(example) == {"num_inference_steps": 12, "guidance_scale": -1.5}


@pytest.mark.parametrize(
    "code",
    [
        LOAD + "pipe(steps=3)",
        LOAD + "steps = 3\npipe(steps=steps)",
        LOAD + "steps: int = 3\npipe(steps=steps)",
        LOAD + "a, (b, c) = 1, (2, 3)\npipe(steps=c)",
        LOAD + "x = {'steps': 3, 'prompt': p}\npipe(**x)",
        LOAD + "x = dict(steps=3, prompt=p)\npipe(**x)",
        LOAD + "with torch.no_grad():\n    pipe(steps=3).images[0].save('x.png')",
        LOAD + "if cuda:\n    pipe = pipe.to('cuda')\npipe(steps=3)",
        LOAD + "def draw(p):\n    return pipe(p, steps=3)",
        LOAD + "for i in range(2):\n    pipe(steps=3)",
        LOAD + "try:\n    pipe(steps=3)\nexcept ValueError:\n    pass",
        "import fox as f\npipe = f.FoxPipeline.from_pretrained('someone/fox').to('cuda')\n"
        "pipe(steps=3)",
        "from fox import FoxPipeline as P\np = P.from_pretrained('someone/fox')\np(steps=3)",
        "FoxPipeline.from_pretrained('someone/fox')(steps=3)",
        "a = Other.from_pretrained('someone/fox')\nb = FoxPipeline.from_pipe(a)\nb(steps=3)",
        "b = FoxPipeline.from_pretrained(pretrained_model_name_or_path='someone/fox')\nb(steps=3)",
    ],
)
def test_values_are_followed(code: str) -> None:
    [example] = examples(code)
    assert (example.class_name, example.repository) == ("FoxPipeline", "someone/fox")
    assert known(example) == {"steps": 3}


@pytest.mark.parametrize(
    "code",
    [
        "pipe(steps=count())",
        "steps = 3\nsteps = count()\npipe(steps=steps)",
        "steps = 3\nsteps += 1\npipe(steps=steps)",
        "if turbo:\n    steps = 3\nelse:\n    steps = 50\npipe(steps=steps)",
        "steps = 3\nfor steps in (1, 2):\n    pipe(steps=steps)",
        "steps = 3\ndef draw(steps):\n    pipe(steps=steps)",
        "x = {'steps': 3}\nx['steps'] = 4\npipe(steps=x['steps'])",
        "pipe(steps='3')",
        "pipe(steps=1e999)",
        "pipe(steps=" + "9" * 400 + ")",
        "pipe(steps=None)",
    ],
)
def test_what_is_not_plain_to_see_is_not_known(code: str) -> None:
    assert numbers(LOAD + code) == {}


def test_without_a_class_a_usual_name_is_taken_for_a_pipeline() -> None:
    [example] = examples("pipe = make()\npipe(steps=3)\nother(steps=4)")
    assert (example.class_name, example.repository) == (None, None)
    assert examples("from transformers import pipeline\npipeline('x', device=0)") == ()


@pytest.mark.parametrize("text", ["- a\n  " * 20_000, "> " * 50_000, "```python\n" * 20_000])
def test_a_huge_card_is_read(text: str) -> None:
    assert find_examples(text) == ()
