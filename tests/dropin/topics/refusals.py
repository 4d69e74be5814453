"""What is refused, by the classes of errors that scripts catch."""

SCRIPTS = {
    "refused: a variant that is not there": """
from diffusers import StableDiffusionPipeline
try:
    result = StableDiffusionPipeline.from_pretrained(SD, variant="fp16")
except ValueError:
    result = "no such variant"
""",
    "refused: a package that is not there": """
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD)
found = []
for part in (pipe, pipe.unet):
    try:
        part.enable_xformers_memory_efficient_attention()
        found.append("on")
    except ModuleNotFoundError:
        found.append("off")
result = found
""",
    "refused: a tokenizer in place of a text encoder": """
from diffusers import StableDiffusionPipeline
tokenizer = StableDiffusionPipeline.from_pretrained(SD).tokenizer
try:
    result = StableDiffusionPipeline.from_pretrained(SD, text_encoder=tokenizer)
except ValueError:
    result = "no text encoder"
""",
    "refused: nothing of the schedulers that may be exchanged": """
import diffusers
from diffusers.schedulers import KarrasDiffusionSchedulers
pipe = diffusers.StableDiffusionPipeline.from_pretrained(SD)
found = []
for kind in KarrasDiffusionSchedulers:
    scheduler = getattr(diffusers, kind.name)
    found.append([kind.name, kind.value, scheduler.__name__])
result = found, len(KarrasDiffusionSchedulers)
""",
}
