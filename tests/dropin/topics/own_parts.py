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

SCRIPTS = {
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
