"""The pipeline of a task, whichever family a checkpoint is of."""

from __future__ import annotations

from typing import Any, ClassVar

from typing_extensions import Self, override

from dpnb.errors import ComponentError
from dpnb.loading.components.registry import resolve
from dpnb.pipelines.pipeline import DiffusionPipeline

TASKS = ("text to picture", "picture to picture", "inpainting")

FAMILIES: tuple[tuple[str, str, str | None], ...] = (
    (
        "StableDiffusionPipeline",
        "StableDiffusionImg2ImgPipeline",
        "StableDiffusionInpaintPipeline",
    ),
    (
        "StableDiffusionXLPipeline",
        "StableDiffusionXLImg2ImgPipeline",
        "StableDiffusionXLInpaintPipeline",
    ),
    ("FluxPipeline", "FluxImg2ImgPipeline", "FluxInpaintPipeline"),
    ("LatentConsistencyModelPipeline", "LatentConsistencyModelImg2ImgPipeline", None),
)
"""For each family the class of each task, where it has one."""

ALIKE = {"StableDiffusionSAGPipeline": "StableDiffusionPipeline"}
"""Classes of a family that stand for none of its tasks, and one that does."""


class _AutoPipeline(DiffusionPipeline):
    """Makes pipelines of one task: of the class that a checkpoint's family has for it."""

    task: ClassVar[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Refuse.

        Raises:
            TypeError: always; it is no pipeline itself.
        """
        name = type(self).__name__
        raise TypeError(
            f"{name} chooses a class and is none to build; call {name}.from_pretrained(...) or "
            f"{name}.from_pipe(pipe)."
        )

    @classmethod
    @override
    def choose_class(cls, found: type[Any]) -> type[Any]:
        """The class for this task of the family that `found` belongs to.

        Raises:
            ComponentError: it has none.
        """
        name = ALIKE.get(found.__name__, found.__name__)
        place = TASKS.index(cls.task)
        chosen = next((family[place] for family in FAMILIES if name in family), None)
        if chosen is None:
            raise ComponentError(
                f"{found.__name__} has no sibling for {cls.task}; load the checkpoint with "
                f"{found.__name__}.from_pretrained, or give one of {', '.join(_known(place))}."
            )
        return resolve("dpnb", chosen)

    @classmethod
    @override
    def from_pipe(cls, pipeline: Any, **kwargs: Any) -> Self:
        """The pipeline of this task over the components of another; see `DiffusionPipeline`."""
        from dpnb.pipelines.storage.origin import resolve_pipeline_class

        kind = cls.choose_class(resolve_pipeline_class(pipeline.config["_class_name"]))
        built: Self = kind.from_pipe(pipeline, **kwargs)
        return built


class AutoPipelineForText2Image(_AutoPipeline):
    """Pipelines that draw from words."""

    task = TASKS[0]


class AutoPipelineForImage2Image(_AutoPipeline):
    """Pipelines that begin with a picture."""

    task = TASKS[1]


class AutoPipelineForInpainting(_AutoPipeline):
    """Pipelines that draw a part of a picture anew."""

    task = TASKS[2]


def _known(place: int) -> list[str]:
    return [name for family in FAMILIES if (name := family[place]) is not None]
