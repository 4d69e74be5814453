"""The pipeline of a task, whichever family a checkpoint is of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import Self, override

from dpnb.errors import ComponentError
from dpnb.loading.components.registry import resolve
from dpnb.pipelines.pipeline import DiffusionPipeline

TASKS = ("text to picture", "picture to picture", "inpainting")

FAMILIES: tuple[tuple[str, str | None, str | None], ...] = (
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
    (
        "StableDiffusionPAGPipeline",
        "StableDiffusionPAGImg2ImgPipeline",
        "StableDiffusionPAGInpaintPipeline",
    ),
    (
        "StableDiffusionXLPAGPipeline",
        "StableDiffusionXLPAGImg2ImgPipeline",
        "StableDiffusionXLPAGInpaintPipeline",
    ),
    ("FluxPipeline", "FluxImg2ImgPipeline", "FluxInpaintPipeline"),
    ("FluxKontextPipeline", "FluxKontextPipeline", None),
    ("FluxControlPipeline", None, None),
    ("LatentConsistencyModelPipeline", "LatentConsistencyModelImg2ImgPipeline", None),
)
"""For each family the class of each task, where it has one."""

ALIKE = {"StableDiffusionSAGPipeline": "StableDiffusionPipeline"}
"""Classes of a family that stand for none of its tasks, and one that does."""


ENDING = re.compile(r"(Img2Img|Inpaint)?Pipeline$")
"""What follows the family's name in that of a class."""


class _AutoPipeline(DiffusionPipeline):
    """Makes pipelines of one task: of the class that a checkpoint's family has for it."""

    task: ClassVar[str]
    has_pag: ClassVar[bool | None] = None
    """Whether they are to have perturbed-attention guidance; `None` leaves that as it is."""

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
        if cls.has_pag is not None:
            name = name.replace("PAG", "")
            name = ENDING.sub(r"PAG\g<0>", name) if cls.has_pag else name
        place = TASKS.index(cls.task)
        chosen = next((family[place] for family in FAMILIES if name in family), None)
        if chosen is None:
            raise ComponentError(
                f"{found.__name__} has no sibling for {cls.task}"
                f"{' with enable_pag' if cls.has_pag else ''}; load the checkpoint with "
                f"{found.__name__}.from_pretrained, or give one of {', '.join(_known(place))}."
            )
        return resolve("dpnb", chosen)

    @classmethod
    @override
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        enable_pag: bool | None = None,
        **kwargs: Any,
    ) -> Self:
        """Load the pipeline of this task; see `DiffusionPipeline.from_pretrained`.

        Args:
            pretrained_model_name_or_path: a folder, or a repository of the hub.
            enable_pag: with perturbed-attention guidance, which `pag_applied_layers` belongs to, or
                without; by default as the checkpoint says.
            kwargs: of `DiffusionPipeline.from_pretrained`.
        """
        with_pag: Any = super(_AutoPipeline, cls._with_pag(enable_pag))
        loaded: Self = with_pag.from_pretrained(pretrained_model_name_or_path, **kwargs)
        return loaded

    @classmethod
    @override
    def from_pipe(cls, pipeline: Any, *, enable_pag: bool | None = None, **kwargs: Any) -> Self:
        """The pipeline of this task over the components of another; see `DiffusionPipeline`.

        Args:
            pipeline: any pipeline of the family.
            enable_pag: with perturbed-attention guidance or without; by default as `pipeline`.
            kwargs: of `DiffusionPipeline.from_pipe`.
        """
        from dpnb.pipelines.storage.origin import resolve_pipeline_class

        found = resolve_pipeline_class(pipeline.config["_class_name"])
        kind = cls._with_pag(enable_pag).choose_class(found)
        built: Self = kind.from_pipe(pipeline, **kwargs)
        return built

    @classmethod
    def _with_pag(cls, enable_pag: bool | None) -> type[_AutoPipeline]:
        """The same, which chooses among classes with or without this guidance."""
        return type(cls.__name__, (cls,), {"has_pag": enable_pag})


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
