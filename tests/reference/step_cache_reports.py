"""What people have reported of step caches, in both libraries.

Each report is a function of a pipeline of FLUX and of how its cache is switched on; it raises, or
says whether all was as it has to be. `python -m tests.reference.step_cache_reports` runs all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import dpnb
from tests.reference.checkpoints import diffusers
from tests.reference.test_flux import SIZE, pipeline

THRESHOLD = 0.9
"""With which the small pipeline reuses some steps, and others not."""

ALWAYS = 100.0
"""With which all steps but the first are reused."""

STEPS = 6


@dataclass(frozen=True)
class Side:
    """A pipeline, by which library whatever.

    Args:
        pipe: of FLUX.
        config: of a cache, given a threshold.
        loop: within it, calls of the network belong to one run; each is within what it gives.
    """

    pipe: Any
    config: Callable[[float], Any]
    loop: Callable[[int], AbstractContextManager[Callable[[int], AbstractContextManager[Any]]]]

    @property
    def network(self) -> Any:
        """The transformer."""
        return self.pipe.transformer

    def switch_on(self, threshold: float = THRESHOLD) -> None:
        """Switch the cache on."""
        self.network.enable_cache(self.config(threshold))

    def draw(self, prompt: str = "a red fox", **arguments: Any) -> Tensor:
        """A picture of a seed."""
        settings = {"num_inference_steps": STEPS, "output_type": "np", **SIZE} | arguments
        generator = torch.Generator().manual_seed(0)
        return torch.from_numpy(self.pipe(prompt, generator=generator, **settings).images)


def _stop(_: Any, index: int, *__: Any) -> Any:
    if index == 2:
        raise ZeroDivisionError
    return {}


def _is_broken_off(side: Side) -> None:
    try:
        side.draw("a blue dog", callback_on_step_end=_stop)
    except ZeroDivisionError:
        return
    raise AssertionError


def comes_on_again_after_a_run_without(side: Side) -> bool:
    """huggingface/diffusers#14037: on, off, a run, and on once more."""
    side.switch_on()
    first = side.draw()
    side.network.disable_cache()
    side.draw()
    side.switch_on()
    return torch.equal(side.draw(), first)


def survives_a_run_that_was_broken_off(side: Side) -> bool:
    """huggingface/diffusers#13655: an error in the middle, then a run as ever."""
    side.switch_on()
    first = side.draw()
    _is_broken_off(side)
    return torch.equal(side.draw(), first)


def draws_another_size_after_an_error(side: Side) -> bool:
    """The same, and what was kept has other sizes."""
    side.switch_on(ALWAYS)
    first = side.draw(height=48)
    _is_broken_off(side)
    return torch.equal(side.draw(height=48), first)


def draws_several_pictures_after_an_error(side: Side) -> bool:
    """Likewise in number."""
    side.switch_on(ALWAYS)
    first = side.draw(num_images_per_prompt=2)
    _is_broken_off(side)
    return torch.equal(side.draw(num_images_per_prompt=2), first)


def leaves_nothing_for_the_next_run(side: Side) -> bool:
    """A second run draws what it would have drawn first."""
    side.switch_on(ALWAYS)
    first = side.draw()
    side.draw("a blue dog", num_inference_steps=3)
    return torch.equal(side.draw(), first)


def takes_tokens_that_become_fewer(side: Side) -> bool:
    """huggingface/diffusers#14829: the second step's network sees fewer tokens than the first's."""
    side.switch_on(ALWAYS)
    given = _inputs(side)
    expected = [_call(side, given, count) for count in (16, 8)]
    with side.loop(3) as step:
        for index, count in enumerate((16, 8, 8)):
            with step(index):
                found = _call(side, given, count)
            if index < 2 and not torch.equal(found, expected[index]):
                return False
    return True


def _inputs(side: Side) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "hidden_states": (1, 16, 16),
        "encoder_hidden_states": (1, 7, 24),
        "pooled_projections": (1, 24),
    }
    return {name: torch.randn(*shape, generator=generator) for name, shape in shapes.items()}


@torch.no_grad()
def _call(side: Side, given: dict[str, Tensor], count: int) -> Tensor:
    shown = given | {"hidden_states": given["hidden_states"][:, :count]}
    ids = {"img_ids": torch.zeros(count, 3), "txt_ids": torch.zeros(7, 3)}
    context = side.network.cache_context("lone") if side.network.is_cache_enabled else None
    call = {**shown, **ids, "timestep": torch.tensor([0.5]), "guidance": torch.tensor([3.5])}
    with context or nullcontext():
        said: Tensor = side.network(**call, return_dict=False)[0]
    return said.clone()


REPORTS: tuple[Callable[[Side], bool], ...] = (
    comes_on_again_after_a_run_without,
    survives_a_run_that_was_broken_off,
    draws_another_size_after_an_error,
    draws_several_pictures_after_an_error,
    leaves_nothing_for_the_next_run,
    takes_tokens_that_become_fewer,
)


def make_sides(folder: Path) -> dict[str, Side]:
    """A pipeline of each library with the same weights."""
    theirs = pipeline("dev")
    theirs.save_pretrained(folder)
    ours = dpnb.DiffusionPipeline.from_pretrained(folder)
    ours.set_progress_bar_config(disable=True)

    @contextmanager
    def run(total: int) -> Any:
        @contextmanager
        def step(index: int) -> Any:
            ours.strategies.before_step(index, total)
            yield

        with ours.strategies.begin_run():
            yield step

    @contextmanager
    def nothing(*_: int) -> Any:
        yield nothing

    return {
        "dpnb": Side(ours, dpnb.FirstBlockCacheConfig, run),
        "diffusers": Side(theirs, diffusers.FirstBlockCacheConfig, nothing),
    }


def judge(report: Callable[[Side], bool], side: Side) -> str:
    """How a report turns out: "right", "wrong", or the error."""
    try:
        return "right" if report(side) else "wrong"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        if side.network.is_cache_enabled:
            side.network.disable_cache()


def main() -> None:
    """Print how every report turns out in each library."""
    for report in REPORTS:
        for library in ("dpnb", "diffusers"):
            with tempfile.TemporaryDirectory() as folder:
                side = make_sides(Path(folder))[library]
                print(f"{report.__name__:45} {library:10} {judge(report, side)[:120]}")


if __name__ == "__main__":
    main()
