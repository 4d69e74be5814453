"""Calls of small pipelines that were not written here, and who listens to them."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from typing_extensions import override

from dpnb.generators import make_generator
from dpnb.pipelines.listeners import Run
from dpnb.run_listener import RunListener
from dpnb.stages import Stage, Step

SIZE = 32
"""Pixels along a side of the pictures."""


def arguments(**more: Any) -> dict[str, Any]:
    """Those of a short call."""
    given = {"prompt": "red apple", "num_inference_steps": 3, "height": SIZE, "width": SIZE}
    return {**given, "generator": make_generator(0), "output_type": "pt", **more}


def draw(pipe: Any, **more: Any) -> Tensor:
    """A picture of a short call, `[1, 3, height, width]`."""
    images: Tensor = pipe(**arguments(**more)).images
    return images


def picture_of(step: Step) -> Tensor:
    """What the last step of a short call holds, `[1, 3, height, width]`."""
    output: Any = step.output
    images: Tensor = output.images
    return images


class Same:
    """An object, which equals itself alone, and what it holds, where it is a dictionary.

    Args:
        value: the object.
    """

    __slots__ = ("_held", "_ids", "_keys", "_value")

    def __init__(self, value: Any) -> None:
        self._value = value
        self._keys = tuple(value) if isinstance(value, dict) else ()
        self._held = tuple(value.values()) if isinstance(value, dict) else ()
        self._ids = tuple(map(id, self._held))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Same)
            and self._value is other._value
            and self._ids == other._ids
            and self._keys == other._keys
        )

    def __hash__(self) -> int:
        return id(self._value)


def everything_of(pipe: Any) -> dict[str, Any]:
    """The classes, attributes and hooks of a pipeline and of all that it is made of.

    Keyed by `component.module.attribute`; what is kept is compared by identity.
    """
    found: dict[str, Any] = {"": type(pipe)}
    found |= {f".{name}": freeze(value) for name, value in vars(pipe).items()}
    for name, part in pipe.components.items():
        modules = part.named_modules() if isinstance(part, nn.Module) else [("", part)]
        for path, module in modules:
            found[f"{name}.{path}"] = type(module)
            if isinstance(module, nn.Module):
                for key, value in vars(module).items():
                    found[f"{name}.{path}.{key}"] = freeze(value)
            else:  # a scheduler is given new timesteps by every run
                own = vars(module) if "__dict__" in dir(module) else {}
                found |= dict.fromkeys((f"{name}.{path}.{key}" for key in own), "")
    return found


def freeze(value: Any) -> Any:
    """What tells whether a value is the same object, and holds the same objects."""
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    return Same(value)


class Notes(RunListener[Run]):
    """Writes down what it hears.

    Attributes:
        heard: in words, in order.
        errors: with which runs have ended.
    """

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.errors: list[BaseException | None] = []

    @override
    def begin_run(self, run: Run) -> None:
        self.heard.append("run")

    @override
    def begin_step(self, run: Run, stage: Stage) -> None:
        self.heard.append(f"begin {stage.value}")

    @override
    def end_step(self, run: Run, step: Step) -> None:
        self.heard.append(f"end {step.stage.value} {step.index + 1}/{step.total}")

    @override
    def end_run(self, run: Run, error: BaseException | None) -> None:
        self.heard.append("over")
        self.errors.append(error)
