"""Pictures in and out: the image processor, the safety checker, small conveniences."""

_PICTURES = """
import numpy as np
import torch
from PIL import Image
from diffusers.image_processor import VaeImageProcessor
picture, mask = Image.open(PICTURE).convert("RGB"), Image.open(MASK).convert("L")
array = np.asarray(picture, dtype=np.float32)[None] / 255
tensor = torch.from_numpy(array).permute(0, 3, 1, 2)
"""

_SD = """
import torch
from PIL import Image
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD)
def draw(**given):
    return pipe("a cat", num_inference_steps=2, generator=torch.manual_seed(0), **given)
"""

SCRIPTS = {
    "picture: preprocess": _PICTURES
    + """
processor = VaeImageProcessor(vae_scale_factor=8)
result = [processor.preprocess(picture), processor.preprocess(array), processor.preprocess(tensor),
          processor.preprocess([picture, picture], height=40, width=24)]
""",
    "picture: a mask": _PICTURES
    + """
processor = VaeImageProcessor(vae_scale_factor=8, do_normalize=False, do_binarize=True,
                              do_convert_grayscale=True)
result = [processor.preprocess(mask), processor.preprocess(mask, 16, 16),
          processor.preprocess(torch.rand(1, 32, 32, generator=torch.manual_seed(0)))]
""",
    "picture: modes of resizing": _PICTURES
    + """
processor = VaeImageProcessor()
result = [processor.preprocess(picture, 48, 24, resize_mode=mode)
          for mode in ("default", "fill", "crop")]
""",
    "picture: a part": _PICTURES
    + """
processor = VaeImageProcessor()
result = processor.preprocess(picture, 16, 16, crops_coords=(4, 8, 28, 30))
""",
    "picture: resize": _PICTURES
    + """
processor = VaeImageProcessor(resample="bicubic")
result = [processor.resize(picture, 20, 12), processor.resize(tensor, 20, 12),
          processor.resize(array, 20, 12), processor.resize(picture, 20, 12, "fill")]
""",
    "picture: blur, and colours": _PICTURES
    + """
processor = VaeImageProcessor()
result = [processor.blur(picture, 3), processor.convert_to_rgb(mask),
          processor.convert_to_grayscale(picture)]
""",
    "picture: arrays and tensors": _PICTURES
    + """
result = [VaeImageProcessor.pil_to_numpy(picture), VaeImageProcessor.pil_to_numpy([mask, mask]),
          VaeImageProcessor.numpy_to_pt(array), VaeImageProcessor.pt_to_numpy(tensor),
          VaeImageProcessor.numpy_to_pil(array), VaeImageProcessor.normalize(tensor),
          VaeImageProcessor.denormalize(tensor)]
""",
    "picture: a region around a mask": _PICTURES
    + """
processor = VaeImageProcessor()
result = [processor.get_crop_region(mask, 32, 32, pad=2),
          processor.get_crop_region(mask, 64, 32), processor.get_crop_region(mask, 16, 48, pad=5)]
""",
    "picture: laid over": _PICTURES
    + """
processor = VaeImageProcessor()
other = picture.transpose(Image.FLIP_LEFT_RIGHT)
result = [processor.apply_overlay(mask, picture, other),
          processor.apply_overlay(mask, picture, other, (8, 4, 30, 28))]
""",
    "picture: its size in latents": _PICTURES
    + """
processor = VaeImageProcessor(vae_scale_factor=16)
result = [processor.get_default_height_width(picture), processor.get_default_height_width(tensor),
          processor.get_default_height_width(array, 50, 70)]
""",
    "picture: postprocess": _PICTURES
    + """
processor = VaeImageProcessor()
x = tensor * 2 - 1
result = [processor.postprocess(x, output_type=kind) for kind in ("pil", "np", "pt", "latent")]
result.append(processor.postprocess(x, output_type="pt", do_denormalize=[False]))
""",
    "picture: settings": _PICTURES
    + """
processor = VaeImageProcessor(do_normalize=False, resample="nearest")
result = [processor.config.vae_scale_factor, processor.config["do_normalize"],
          processor.config.resample, processor.config.do_resize]
""",
    "safety checker: a function": _SD
    + """
class Features(dict):
    pixel_values = torch.zeros(1, 3, 8, 8)
    def to(self, *_):
        return self
pipe.feature_extractor = lambda images, return_tensors: Features()
pipe.safety_checker = lambda images, clip_input: (images, [False] * len(images))
out = draw(output_type="np")
result = [out.images, out.nsfw_content_detected]
""",
    "safety checker: a function that blackens": _SD
    + """
class Features(dict):
    pixel_values = torch.zeros(1, 3, 8, 8)
    def to(self, *_):
        return self
pipe.feature_extractor = lambda images, return_tensors: Features()
pipe.safety_checker = lambda clip_input, images: (images * 0, [True] * len(images))
out = draw(output_type="np")
result = [out.images, out.nsfw_content_detected]
""",
    "safety checker: none": _SD
    + """
pipe.safety_checker = None
out = draw(output_type="np")
result = [out.images, out.nsfw_content_detected]
""",
    "utils: open a picture": """
from PIL import Image
from diffusers.utils import load_image
result = [load_image(PICTURE), load_image(MASK).mode, load_image(Image.open(MASK).copy()),
          load_image(PICTURE, convert_method=lambda image: image.convert("L"))]
""",
    "utils: pictures in a grid": """
from PIL import Image
from diffusers.utils import make_image_grid
picture = Image.open(PICTURE).convert("RGB")
result = [make_image_grid([picture] * 6, rows=2, cols=3),
          make_image_grid([picture] * 2, 1, 2, resize=16)]
""",
    "utils: an animation": """
from PIL import Image
from diffusers.utils import export_to_gif
picture = Image.open(PICTURE).convert("RGB")
path = export_to_gif([picture, picture.rotate(90)], str(HERE / "a.gif"))
with Image.open(path) as made:
    result = [made.n_frames, made.size]
""",
    "utils: random numbers": """
import torch
from diffusers.utils.torch_utils import randn_tensor
result = [randn_tensor((2, 3), generator=torch.manual_seed(0)),
          randn_tensor((2, 3), generator=[torch.Generator().manual_seed(i) for i in range(2)],
                       dtype=torch.float64)]
""",
    "utils: how much is said": """
from diffusers.utils import logging
logging.set_verbosity_error()
one = logging.get_verbosity()
logging.set_verbosity_warning()
logger = logging.get_logger("diffusers.mine")
result = [one, logging.get_verbosity()]
""",
    "callback: guidance ends on the way": _SD
    + """
from diffusers.callbacks import SDCFGCutoffCallback
result = pipe("a cat", num_inference_steps=5, generator=torch.manual_seed(0), output_type="np",
              callback_on_step_end=SDCFGCutoffCallback(cutoff_step_ratio=0.4)).images
""",
    "callback: after so many steps": _SD
    + """
from diffusers.callbacks import SDCFGCutoffCallback
result = pipe("a cat", num_inference_steps=4, generator=torch.manual_seed(0), output_type="np",
              callback_on_step_end=SDCFGCutoffCallback(cutoff_step_ratio=None,
                                                       cutoff_step_index=1)).images
""",
    "callback: XL": """
import torch
from diffusers import StableDiffusionXLPipeline
from diffusers.callbacks import SDXLCFGCutoffCallback
pipe = StableDiffusionXLPipeline.from_pretrained(XL)
result = pipe("a cat", num_inference_steps=4, generator=torch.manual_seed(0), output_type="np",
              callback_on_step_end=SDXLCFGCutoffCallback(cutoff_step_ratio=0.5)).images
""",
    "callback: a class of one's own": _SD
    + """
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback, SDCFGCutoffCallback
class Darken(PipelineCallback):
    tensor_inputs = ["latents"]
    def callback_fn(self, pipeline, step_index, timestep, callback_kwargs):
        callback_kwargs["latents"] = callback_kwargs["latents"] * 0.9
        return callback_kwargs
both = MultiPipelineCallbacks([Darken(), SDCFGCutoffCallback(cutoff_step_ratio=0.5)])
result = pipe("a cat", num_inference_steps=4, generator=torch.manual_seed(0), output_type="np",
              callback_on_step_end=both).images
""",
    "callback: a function": _SD
    + """
def end(pipe, index, timestep, tensors):
    tensors["latents"] = tensors["latents"].clamp(-2, 2)
    return tensors
result = draw(callback_on_step_end=end, output_type="np").images
""",
    "callback: stop": _SD
    + """
def stop(pipe, index, timestep, tensors):
    if index == 1:
        pipe._interrupt = True
    return tensors
result = pipe("a cat", num_inference_steps=6, generator=torch.manual_seed(0), output_type="np",
              callback_on_step_end=stop).images
""",
    "callback: guidance by hand": _SD
    + """
def end(pipe, index, timestep, tensors):
    if index == int(pipe.num_timesteps * 0.5):
        tensors["prompt_embeds"] = tensors["prompt_embeds"].chunk(2)[-1]
        pipe._guidance_scale = 0.0
    return tensors
result = pipe("a cat", num_inference_steps=4, generator=torch.manual_seed(0), output_type="np",
              callback_on_step_end=end,
              callback_on_step_end_tensor_inputs=["prompt_embeds"]).images
""",
    "processor: its settings in a file": """
from diffusers import VaeImageProcessor
VaeImageProcessor(vae_scale_factor=4, do_binarize=True).save_config(HERE)
again = VaeImageProcessor.from_config(VaeImageProcessor.load_config(HERE))
result = again.config.vae_scale_factor, again.config.do_binarize, again.config.do_resize
""",
}
