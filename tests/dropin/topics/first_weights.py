"""The weights that networks begin with, drawn by one seed."""

DRAWN = """
import torch
from diffusers import {name}
torch.manual_seed(0)
model = {name}({settings})
result = {{k: v for k, v in model.state_dict().items()}}
"""

SMALL_UNET = """block_out_channels=(32, 64), layers_per_block=1, sample_size=16, norm_num_groups=8,
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), cross_attention_dim=24,
    up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), attention_head_dim=4"""

SCRIPTS = {
    "weights of a first UNet": DRAWN.format(name="UNet2DConditionModel", settings=SMALL_UNET),
    "weights of a first UNet with linear projections": DRAWN.format(
        name="UNet2DConditionModel", settings=SMALL_UNET + ", use_linear_projection=True"
    ),
    "weights of a first XL UNet": DRAWN.format(
        name="UNet2DConditionModel",
        settings=SMALL_UNET + ", use_linear_projection=True, addition_embed_type='text_time', "
        "addition_time_embed_dim=8, projection_class_embeddings_input_dim=80, "
        "transformer_layers_per_block=(1, 2), time_cond_proj_dim=16",
    ),
    "weights of a first unconditional UNet": DRAWN.format(
        name="UNet2DModel",
        settings="""block_out_channels=(32, 64), layers_per_block=1, sample_size=16,
    norm_num_groups=8, down_block_types=("DownBlock2D", "AttnDownBlock2D"),
    up_block_types=("AttnUpBlock2D", "UpBlock2D"), attention_head_dim=8""",
    ),
    "weights of a first VAE": DRAWN.format(
        name="AutoencoderKL",
        settings="""block_out_channels=(32, 64), norm_num_groups=8, layers_per_block=2,
    down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2""",
    ),
    "weights of a first VQ model": DRAWN.format(
        name="VQModel",
        settings="""block_out_channels=(32, 64), norm_num_groups=8, num_vq_embeddings=20,
    down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2""",
    ),
    "weights of a first FLUX transformer": DRAWN.format(
        name="FluxTransformer2DModel",
        settings="""patch_size=1, in_channels=4, num_layers=1, num_single_layers=1,
    attention_head_dim=16, num_attention_heads=2, joint_attention_dim=32,
    pooled_projection_dim=32, axes_dims_rope=(4, 4, 8), guidance_embeds=True""",
    ),
    "weights of a first tiny autoencoder": DRAWN.format(
        name="AutoencoderTiny",
        settings="""encoder_block_out_channels=(16, 16), decoder_block_out_channels=(16, 16),
    num_encoder_blocks=(1, 2), num_decoder_blocks=(2, 1)""",
    ),
}
