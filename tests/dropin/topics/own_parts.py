"""Networks, schedulers and checkers of one's own in a pipeline."""

_DRAW = """
import torch
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD)
pipe.set_progress_bar_config(disable=True)
def draw(**given):
    return pipe(**{"prompt": "a cat", "num_inference_steps": 2, "height": 32, "width": 32,
                   "generator": torch.manual_seed(0), "output_type": "np"} | given).images
"""

_PICTURE = """
import torch
from PIL import Image
from diffusers import KINDImg2ImgPipeline
class Mine(KINDImg2ImgPipeline):
    def check_inputs(self, *given):
        seen.append([one for one in given if one is not None and not callable(one)])
    def prepare_latents(self, image, timestep, batch_size, num_images_per_prompt, *given):
        seen.append([image.shape, timestep, batch_size, num_images_per_prompt, str(given[0])])
        noise = torch.manual_seed(1)
        return torch.randn(batch_size * num_images_per_prompt, 4, 16, 16, generator=noise)
pipe, seen = Mine.from_pretrained(PLACE), []
drawn = pipe(["a cat", "a dog"], image=Image.open(PICTURE), strength=0.5, num_inference_steps=4,
             num_images_per_prompt=2, output_type="np").images
"""

SCRIPTS = {
    "prepare_latents of one's own": _DRAW
    + """
class Mine(StableDiffusionPipeline):
    def prepare_latents(self, *given, **named):
        seen.append([given[:-2], named])
        return super().prepare_latents(*given, **named) / 2
pipe, seen = Mine(**pipe.components, requires_safety_checker=False), []
result = [draw(), draw(num_images_per_prompt=2, height=48), seen]
""",
    "prepare_latents of one's own: set at the pipeline": _DRAW
    + """
pipe.prepare_latents = lambda *given: torch.full((1, 4, 16, 16), 0.5)
result = draw()
""",
    "prepare_latents of one's own: a picture's": _PICTURE.replace(
        "KIND", "StableDiffusion"
    ).replace("PLACE", "SD")
    + """
result = [drawn, seen[1:]]
""",
    "prepare_latents of one's own: a picture's, XL": _PICTURE.replace(
        "KIND", "StableDiffusionXL"
    ).replace("PLACE", "XL")
    + """
result = [drawn, seen[1:]]
""",
    "prepare_latents of one's own: FLUX": """
import torch
from diffusers import FluxPipeline
class Mine(FluxPipeline):
    def prepare_latents(self, *given):
        latents, places = super().prepare_latents(*given)
        return latents / 2, places
pipe = Mine.from_pretrained(FLUX)
result = pipe("a cat", num_inference_steps=2, height=32, width=32, max_sequence_length=16,
              generator=torch.manual_seed(0), output_type="np").images
""",
    "check_inputs of one's own": _DRAW
    + """
class Mine(StableDiffusionPipeline):
    def check_inputs(self, prompt, height, width, *given, **named):
        seen.append([prompt, height, width])
pipe, seen = Mine(**pipe.components, requires_safety_checker=False), []
result = [draw(), seen]
""",
    "compiled networks": _DRAW
    + """
for name in ("unet", "vae", "text_encoder"):
    setattr(pipe, name, torch.compile(getattr(pipe, name), backend="eager"))
drawn = draw()
pipe.save_pretrained(HERE / "saved")
pipe = StableDiffusionPipeline.from_pretrained(HERE / "saved")
result = [drawn, draw(), sorted(pipe.unet.state_dict())]
""",
}
