"""The tensors that callbacks see and replace, in pipelines that have others than most."""

_START = """
import torch
from PIL import Image
from diffusers import {0}
picture, mask = Image.open(PICTURE).convert("RGB"), Image.open(MASK).convert("L")
shapes = []
def look(pipe, index, t, tensors):
    shapes.append([[name, None if one is None else list(one.shape)]
                   for name, one in sorted(tensors.items())])
    return tensors
def names(pipe):
    return [name for name in type(pipe)._callback_tensor_inputs]
def draw(pipe, **given):
    return pipe("a cat", **{{"num_inference_steps": 3, "output_type": "np",
                            "generator": torch.manual_seed(0), **given}}).images
"""

_LCM = (
    _START.format("LatentConsistencyModelPipeline, LCMScheduler, UNet2DConditionModel")
    + """
settings = dict(UNet2DConditionModel.load_config(SD, subfolder="unet"))
torch.manual_seed(1)
unet = UNet2DConditionModel.from_config({**settings, "time_cond_proj_dim": 8}).eval()
pipe = LatentConsistencyModelPipeline.from_pretrained(SD, unet=unet, scheduler=LCMScheduler())
"""
)

SCRIPTS = {
    "callback: a look that is perturbed": _START.format("StableDiffusionPAGPipeline")
    + """
pipe = StableDiffusionPAGPipeline.from_pretrained(SD)
seen = {"callback_on_step_end": look, "callback_on_step_end_tensor_inputs": names(pipe)}
result = [draw(pipe, **seen), draw(pipe, guidance_scale=1.0, **seen),
          draw(pipe, pag_scale=0.0, **seen), draw(pipe, num_images_per_prompt=2, **seen), shapes]
""",
    "callback: a perturbed look at other words": _START.format("StableDiffusionPAGPipeline")
    + """
pipe = StableDiffusionPAGPipeline.from_pretrained(SD)
def stir(pipe, index, t, tensors):
    tensors["prompt_embeds"] = tensors["prompt_embeds"] * 0.9
    return tensors
result = draw(pipe, callback_on_step_end=stir,
              callback_on_step_end_tensor_inputs=["prompt_embeds"])
""",
    "callback: perturbed XL's negative prompts": _START.format("StableDiffusionXLPAGPipeline")
    + """
pipe = StableDiffusionXLPAGPipeline.from_pretrained(XL)
values = []
def note(pipe, index, t, tensors):
    values.append([tensors[name] for name in sorted(tensors) if "negative" in name])
    return look(pipe, index, t, tensors)
made = draw(pipe, negative_prompt="a dog", negative_original_size=(8, 8),
            negative_target_size=(16, 16), callback_on_step_end=note,
            callback_on_step_end_tensor_inputs=names(pipe))
result = [made, values, shapes]
""",
    "callback: a perturbed part of a picture": _START.format("StableDiffusionXLPAGInpaintPipeline")
    + """
pipe = StableDiffusionXLPAGInpaintPipeline.from_pretrained(XL)
made = draw(pipe, image=picture, mask_image=mask, height=32, width=32, strength=0.8,
            callback_on_step_end=look, callback_on_step_end_tensor_inputs=names(pipe))
result = [made, shapes]
""",
    "callback: no negative prompt": _START.format(
        "StableDiffusionPipeline, StableDiffusionXLPAGPipeline"
    )
    + """
pipe = StableDiffusionPipeline.from_pretrained(SD)
result = [draw(pipe, guidance_scale=1.0, callback_on_step_end=look,
               callback_on_step_end_tensor_inputs=names(pipe)), shapes]
""",
    "callback: what latent consistency foresees": _LCM
    + """
values = []
def note(pipe, index, t, tensors):
    values.append(dict(tensors))
    return tensors
made = draw(pipe, callback_on_step_end=note, callback_on_step_end_tensor_inputs=names(pipe))
result = [made, values]
""",
    "callback: what latent consistency foresees is replaced": _LCM
    + """
def quiet(pipe, index, t, tensors):
    return {"denoised": tensors["denoised"] * 0.5, "w_embedding": tensors["w_embedding"] * 2}
result = draw(pipe, callback_on_step_end=quiet,
              callback_on_step_end_tensor_inputs=["denoised", "w_embedding"])
""",
    "callback: the layers that are perturbed": _START.format("StableDiffusionPAGPipeline")
    + """
pipe = StableDiffusionPAGPipeline.from_pretrained(SD, pag_applied_layers=["mid", "up"])
before, layers = sorted(pipe.pag_attn_processors), []
def note(pipe, index, t, tensors):
    layers.append(sorted(pipe.pag_attn_processors))
    return tensors
draw(pipe, callback_on_step_end=note)
result = before, layers
""",
}
