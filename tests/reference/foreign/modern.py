"""All small pipelines of the recent families of picture transformers."""

from __future__ import annotations

from tests.reference.foreign import (
    flux,
    flux2,
    further,
    glm_image,
    language_read,
    qwen,
    qwen_read,
    sana,
    stable_diffusion_3,
    t5_read,
    z_image,
)
from tests.reference.foreign.case import ForeignCase

FAMILIES = (
    z_image,
    flux,
    flux2,
    qwen,
    qwen_read,
    stable_diffusion_3,
    sana,
    t5_read,
    language_read,
    glm_image,
    further,
)

CASES: tuple[ForeignCase, ...] = tuple(case for family in FAMILIES for case in family.CASES)

NOT_BUILT: dict[str, str] = {
    "OmniGenPipeline": "prepares its pictures with torchvision, which is not installed",
    "ZImageOmniPipeline (with a picture)": "encodes it in bfloat16 whatever the autoencoder is in",
    "PRXPipeline (from words)": "cleans them with ftfy, which is not installed",
    "PRXPixelPipeline (from words)": "cleans them with ftfy, which is not installed",
    "GlmImagePipeline (with a picture)": (
        "gives transformers 5 the features of pictures joined, which takes them one by one"
    ),
}
"""What could not be built, and why."""
