"""What denoising networks compute by themselves."""

UNET = """
import torch
from diffusers import UNet2DConditionModel
unet = UNet2DConditionModel.from_pretrained(SD, subfolder="unet")
x = torch.randn(2, 4, 16, 16, generator=torch.manual_seed(0))
context = torch.randn(2, 7, unet.config.cross_attention_dim, generator=torch.manual_seed(1))
"""

_SMALL = """
import torch
from diffusers import UNet2DConditionModel
torch.manual_seed(0)
unet = UNet2DConditionModel(
    sample_size=8, block_out_channels=(32, 64), norm_num_groups=8, layers_per_block=1,
    cross_attention_dim=16, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), {}).eval().requires_grad_(False)
x, context = torch.randn(2, 4, 8, 8), torch.randn(2, 5, 16)
"""

_PICTURES = """
import torch
from diffusers import UNet2DModel
torch.manual_seed(0)
unet = UNet2DModel(
    block_out_channels=(8, 16), norm_num_groups=4, sample_size=16,
    down_block_types=("DownBlock2D", "AttnDownBlock2D"),
    up_block_types=("AttnUpBlock2D", "UpBlock2D"), **{}).eval().requires_grad_(False)
x = torch.randn(2, 3, 16, 16)
"""

SCRIPTS = {
    "FLUX: residuals of a ControlNet": """
import torch
from diffusers import FluxTransformer2DModel
torch.manual_seed(0)
net = FluxTransformer2DModel(
    in_channels=4, num_layers=3, num_single_layers=2, attention_head_dim=16, num_attention_heads=2,
    joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=[4, 4, 8],
).eval().requires_grad_(False)
given = dict(hidden_states=torch.randn(1, 16, 4), encoder_hidden_states=torch.randn(1, 8, 32),
             pooled_projections=torch.randn(1, 32), img_ids=torch.randn(16, 3),
             txt_ids=torch.zeros(8, 3), timestep=torch.tensor([1.0]))
some, others = [torch.randn(1, 16, 32) for _ in "ab"], [torch.randn(1, 16, 32)]
result = [
    net(**given, controlnet_block_samples=some, controlnet_single_block_samples=others).sample,
    net(**given, controlnet_block_samples=some, controlnet_blocks_repeat=True).sample,
    net(**given, controlnet_block_samples=None, controlnet_single_block_samples=None).sample]
""",
    "UNet without a prompt: heads that do not divide the channels": _PICTURES.replace(
        "**{}", "attention_head_dim=3"
    )
    + """
result = [unet(x, 10).sample, unet.mid_block.attentions[0].to_q.weight, unet.num_parameters()]
""",
    "UNet without a prompt: settings of blocks": _PICTURES.replace(
        "**{}",
        'attention_head_dim=4, act_fn="gelu", mid_block_scale_factor=2.0, attn_norm_num_groups=2,'
        ' resnet_time_scale_shift="scale_shift"',
    )
    + """
result = [unet(x, 10).sample, unet.num_parameters()]
""",
    "UNet without a prompt: no middle": _PICTURES.replace(
        "**{}", "attention_head_dim=4, mid_block_type=None"
    )
    + """
result = [unet(x, 10).sample, unet.mid_block]
""",
    "UNet: activations": _SMALL.format(
        'act_fn="mish", timestep_post_act="gelu", time_embedding_act_fn="silu",'
        ' resnet_time_scale_shift="scale_shift", mid_block_scale_factor=2.0'
    )
    + """
result = unet(x, 10, context).sample
""",
    "UNet without a prompt: a fraction of a timestep": _PICTURES.replace("**{}", "")
    + """
result = [unet(x, 10.5).sample, unet(x, torch.tensor(10.5)).sample]
""",
    "UNet: arguments that are left out": UNET
    + """
with torch.no_grad():
    result = unet(x, 10, context, class_labels=None, attention_mask=None,
                  encoder_attention_mask=None, cross_attention_kwargs=None).sample
""",
    "UNet: tokens that do not count": UNET
    + """
mask = torch.ones(2, 7)
mask[:, 4:] = 0
with torch.no_grad():
    result = [unet(x, 10, context, encoder_attention_mask=mask).sample,
              unet(x, 10, context, encoder_attention_mask=torch.ones(2, 7)).sample]
""",
    "UNet: a mask of truth values": UNET
    + """
mask = torch.arange(7) < 3
with torch.no_grad():
    result = unet(x, 10, context, encoder_attention_mask=mask.expand(2, 7)).sample
""",
    "UNet: residuals of a ControlNet": UNET
    + """
with torch.no_grad():
    plain = unet(x, 10, context).sample
    width, layers = unet.config.block_out_channels, unet.config.layers_per_block
    layers = layers if isinstance(layers, (list, tuple)) else [layers] * len(width)
    side, residuals = 16, [torch.ones(2, width[0], 16, 16)]
    for i, channels in enumerate(width):
        residuals += [torch.ones(2, channels, side, side)] * layers[i]
        if i < len(width) - 1:
            side //= 2
            residuals.append(torch.ones(2, channels, side, side))
    more = unet(x, 10, context, down_block_additional_residuals=residuals,
                mid_block_additional_residual=torch.ones(2, width[-1], side, side)).sample
result = [plain, more]
""",
    "UNet: all arguments by position": UNET
    + """
result = unet(x, torch.tensor([5, 7]), context, None, None, None, None, None, None, None, None,
              None, False)[0]
""",
    "UNet: XL's added conditions": """
import torch
from diffusers import UNet2DConditionModel
unet = UNet2DConditionModel.from_pretrained(XL, subfolder="unet")
width = unet.config.cross_attention_dim
text = unet.config.projection_class_embeddings_input_dim - 6 * unet.config.addition_time_embed_dim
x = torch.randn(1, 4, 16, 16, generator=torch.manual_seed(0))
words = torch.randn(1, 7, width, generator=torch.manual_seed(1))
added = {"text_embeds": torch.ones(1, text), "time_ids": torch.tensor([[32, 32, 0, 0, 32, 32.0]])}
result = unet(x, 3, words, added_cond_kwargs=added).sample
""",
    "UNet2D: a class for pictures alone": """
import torch
from diffusers import UNet2DModel
torch.manual_seed(0)
unet = UNet2DModel(sample_size=16, block_out_channels=(16, 32), norm_num_groups=8,
                   down_block_types=("DownBlock2D", "AttnDownBlock2D"),
                   up_block_types=("AttnUpBlock2D", "UpBlock2D"), layers_per_block=1)
result = [unet.num_parameters(), unet.config.sample_size, unet.dtype,
          unet(torch.zeros(1, 3, 16, 16), 3).sample.shape]
""",
    "FLUX: the transformer": """
import torch
from diffusers import FluxTransformer2DModel
net = FluxTransformer2DModel.from_pretrained(FLUX, subfolder="transformer")
c = net.config
x = torch.randn(1, 16, c.in_channels, generator=torch.manual_seed(0))
context = torch.randn(1, 6, c.joint_attention_dim, generator=torch.manual_seed(1))
pooled = torch.randn(1, c.pooled_projection_dim, generator=torch.manual_seed(2))
ids = torch.zeros(16, 3)
ids[:, 1] = torch.arange(16) // 4
ids[:, 2] = torch.arange(16) % 4
with torch.no_grad():
    result = net(hidden_states=x, encoder_hidden_states=context, pooled_projections=pooled,
                 timestep=torch.tensor([0.5]), img_ids=ids, txt_ids=torch.zeros(6, 3),
                 guidance=torch.tensor([3.5]), joint_attention_kwargs={}, return_dict=False)[0]
""",
    "network: classes": _SMALL.format("num_class_embeds=10")
    + "result = unet(x, 3, context, class_labels=torch.tensor([2, 7])).sample",
    "network: classes as timesteps": _SMALL.format('class_embed_type="timestep"')
    + "result = unet(x, 3, context, torch.tensor([2, 700])).sample",
    "network: classes as vectors": _SMALL.format(
        'class_embed_type="projection", projection_class_embeddings_input_dim=6'
    )
    + "result = unet(x, 3, context, class_labels=torch.linspace(0, 1, 12).view(2, 6)).sample",
    "network: no classes": _SMALL.format("num_class_embeds=10")
    + """
try:
    unet(x, 3, context)
    result = "computed"
except ValueError:
    result = "refused"
""",
    "network: sees the context alone": _SMALL.format("only_cross_attention=(True, False)")
    + "result = unet(x, 3, context).sample",
    "network: classes without words": """
import torch
from diffusers import UNet2DModel
torch.manual_seed(0)
unet = UNet2DModel(sample_size=8, block_out_channels=(32, 64), norm_num_groups=8,
                   layers_per_block=1, down_block_types=("AttnDownBlock2D", "DownBlock2D"),
                   up_block_types=("UpBlock2D", "AttnUpBlock2D"), num_class_embeds=5).eval()
with torch.no_grad():
    result = unet(torch.ones(2, 3, 8, 8), 4, torch.tensor([1, 3])).sample
""",
}
