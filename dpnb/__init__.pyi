from dpnb.bench.report import Report as Report
from dpnb.bench.sweep import sweep as sweep
from dpnb.ema import EMAModel as EMAModel
from dpnb.errors import AdapterError as AdapterError
from dpnb.errors import CheckpointError as CheckpointError
from dpnb.errors import ComponentError as ComponentError
from dpnb.errors import DeviceError as DeviceError
from dpnb.errors import DpnbError as DpnbError
from dpnb.errors import FileError as FileError
from dpnb.errors import ForeignCodeError as ForeignCodeError
from dpnb.errors import ForeignNameError as ForeignNameError
from dpnb.errors import HubError as HubError
from dpnb.errors import MissingFileError as MissingFileError
from dpnb.errors import MissingPackageError as MissingPackageError
from dpnb.errors import NonFiniteError as NonFiniteError
from dpnb.errors import QuantizationError as QuantizationError
from dpnb.errors import SaveError as SaveError
from dpnb.errors import SettingsError as SettingsError
from dpnb.errors import StrategyError as StrategyError
from dpnb.errors import UnknownValueError as UnknownValueError
from dpnb.errors import VariantError as VariantError
from dpnb.fidelity.difference import PictureDifference as PictureDifference
from dpnb.fidelity.difference import compare as compare
from dpnb.fidelity.quality import PictureSet as PictureSet
from dpnb.lab import LabError as LabError
from dpnb.loading.adapters.name_patterns import PatternError as PatternError
from dpnb.loading.hub.responses import BusyHubError as BusyHubError
from dpnb.loading.quantization_configs import BitsAndBytesConfig as BitsAndBytesConfig
from dpnb.loading.quantization_configs import (
    PipelineQuantizationConfig as PipelineQuantizationConfig,
)
from dpnb.loading.quantization_configs import TorchAoConfig as TorchAoConfig
from dpnb.metering.reading import MeterError as MeterError
from dpnb.metering.trace import Trace as Trace
from dpnb.metering.trace import TraceError as TraceError
from dpnb.models.auto import AutoModel as AutoModel
from dpnb.models.autoencoder import AutoencoderKL as AutoencoderKL
from dpnb.models.flux import FluxTransformer2DModel as FluxTransformer2DModel
from dpnb.models.step_caches import FasterCacheConfig as FasterCacheConfig
from dpnb.models.step_caches import FirstBlockCacheConfig as FirstBlockCacheConfig
from dpnb.models.step_caches import MagCacheConfig as MagCacheConfig
from dpnb.models.step_caches import (
    PyramidAttentionBroadcastConfig as PyramidAttentionBroadcastConfig,
)
from dpnb.models.step_caches import TaylorSeerCacheConfig as TaylorSeerCacheConfig
from dpnb.models.tiny_autoencoder import AutoencoderTiny as AutoencoderTiny
from dpnb.models.unet import UNet2DConditionModel as UNet2DConditionModel
from dpnb.models.unet_2d import UNet2DModel as UNet2DModel
from dpnb.models.vq import VQModel as VQModel
from dpnb.optimization import get_constant_schedule as get_constant_schedule
from dpnb.optimization import get_constant_schedule_with_warmup as get_constant_schedule_with_warmup
from dpnb.optimization import get_cosine_schedule_with_warmup as get_cosine_schedule_with_warmup
from dpnb.optimization import (
    get_cosine_with_hard_restarts_schedule_with_warmup as get_cosine_with_hard_restarts_schedule_with_warmup,  # noqa: E501
)
from dpnb.optimization import get_linear_schedule_with_warmup as get_linear_schedule_with_warmup
from dpnb.optimization import (
    get_polynomial_decay_schedule_with_warmup as get_polynomial_decay_schedule_with_warmup,
)
from dpnb.optimization import get_scheduler as get_scheduler
from dpnb.pipelines.attached.attach import attach as attach
from dpnb.pipelines.attached.attached_run import AttachError as AttachError
from dpnb.pipelines.attached.attached_run import InterruptedRunError as InterruptedRunError
from dpnb.pipelines.auto import AutoPipelineForImage2Image as AutoPipelineForImage2Image
from dpnb.pipelines.auto import AutoPipelineForInpainting as AutoPipelineForInpainting
from dpnb.pipelines.auto import AutoPipelineForText2Image as AutoPipelineForText2Image
from dpnb.pipelines.cutoffs import MultiPipelineCallbacks as MultiPipelineCallbacks
from dpnb.pipelines.cutoffs import PipelineCallback as PipelineCallback
from dpnb.pipelines.cutoffs import SDCFGCutoffCallback as SDCFGCutoffCallback
from dpnb.pipelines.cutoffs import SDXLCFGCutoffCallback as SDXLCFGCutoffCallback
from dpnb.pipelines.depth import (
    StableDiffusionDepth2ImgPipeline as StableDiffusionDepth2ImgPipeline,
)
from dpnb.pipelines.flux import FluxPipeline as FluxPipeline
from dpnb.pipelines.flux_control import FluxControlPipeline as FluxControlPipeline
from dpnb.pipelines.flux_edit import FluxImg2ImgPipeline as FluxImg2ImgPipeline
from dpnb.pipelines.flux_edit import FluxInpaintPipeline as FluxInpaintPipeline
from dpnb.pipelines.flux_fill import FluxFillPipeline as FluxFillPipeline
from dpnb.pipelines.flux_kontext import FluxKontextPipeline as FluxKontextPipeline
from dpnb.pipelines.foreign.bases import ConfigMixin as ConfigMixin
from dpnb.pipelines.foreign.bases import ModelMixin as ModelMixin
from dpnb.pipelines.foreign.bases import SchedulerMixin as SchedulerMixin
from dpnb.pipelines.foreign.image_processor import VaeImageProcessor as VaeImageProcessor
from dpnb.pipelines.foreign.inpaint_processor import InpaintProcessor as InpaintProcessor
from dpnb.pipelines.instruct_pix2pix import (
    StableDiffusionInstructPix2PixPipeline as StableDiffusionInstructPix2PixPipeline,
)
from dpnb.pipelines.instruct_pix2pix import (
    StableDiffusionXLInstructPix2PixPipeline as StableDiffusionXLInstructPix2PixPipeline,
)
from dpnb.pipelines.latent_consistency import (
    LatentConsistencyModelImg2ImgPipeline as LatentConsistencyModelImg2ImgPipeline,
)
from dpnb.pipelines.latent_consistency import (
    LatentConsistencyModelPipeline as LatentConsistencyModelPipeline,
)
from dpnb.pipelines.latent_diffusion import LDMTextToImagePipeline as LDMTextToImagePipeline
from dpnb.pipelines.latent_upscale import (
    StableDiffusionLatentUpscalePipeline as StableDiffusionLatentUpscalePipeline,
)
from dpnb.pipelines.perturbed_guidance import (
    PerturbedAttentionGuidance as PerturbedAttentionGuidance,
)
from dpnb.pipelines.pictures.contact_sheet import contact_sheet as contact_sheet
from dpnb.pipelines.pictures.images import ImagePipelineOutput as ImagePipelineOutput
from dpnb.pipelines.pipeline import DiffusionPipeline as DiffusionPipeline
from dpnb.pipelines.recording import record as record
from dpnb.pipelines.sag import StableDiffusionSAGPipeline as StableDiffusionSAGPipeline
from dpnb.pipelines.settings.picture_files import read_settings as read_settings
from dpnb.pipelines.settings.picture_settings import PictureSettings as PictureSettings
from dpnb.pipelines.settings.picture_settings import PictureSettingsError as PictureSettingsError
from dpnb.pipelines.shapes.architectures import random_pipeline as random_pipeline
from dpnb.pipelines.stable_diffusion import StableDiffusionPipeline as StableDiffusionPipeline
from dpnb.pipelines.stable_diffusion_edit import (
    StableDiffusionImg2ImgPipeline as StableDiffusionImg2ImgPipeline,
)
from dpnb.pipelines.stable_diffusion_edit import (
    StableDiffusionInpaintPipeline as StableDiffusionInpaintPipeline,
)
from dpnb.pipelines.stable_diffusion_pag import (
    StableDiffusionPAGImg2ImgPipeline as StableDiffusionPAGImg2ImgPipeline,
)
from dpnb.pipelines.stable_diffusion_pag import (
    StableDiffusionPAGInpaintPipeline as StableDiffusionPAGInpaintPipeline,
)
from dpnb.pipelines.stable_diffusion_pag import (
    StableDiffusionPAGPipeline as StableDiffusionPAGPipeline,
)
from dpnb.pipelines.stable_diffusion_pag import (
    StableDiffusionXLPAGImg2ImgPipeline as StableDiffusionXLPAGImg2ImgPipeline,
)
from dpnb.pipelines.stable_diffusion_pag import (
    StableDiffusionXLPAGInpaintPipeline as StableDiffusionXLPAGInpaintPipeline,
)
from dpnb.pipelines.stable_diffusion_pag import (
    StableDiffusionXLPAGPipeline as StableDiffusionXLPAGPipeline,
)
from dpnb.pipelines.stable_diffusion_xl import (
    StableDiffusionXLPipeline as StableDiffusionXLPipeline,
)
from dpnb.pipelines.stable_diffusion_xl_edit import (
    StableDiffusionXLImg2ImgPipeline as StableDiffusionXLImg2ImgPipeline,
)
from dpnb.pipelines.stable_diffusion_xl_edit import (
    StableDiffusionXLInpaintPipeline as StableDiffusionXLInpaintPipeline,
)
from dpnb.pipelines.unconditional import DDIMPipeline as DDIMPipeline
from dpnb.pipelines.unconditional import DDPMPipeline as DDPMPipeline
from dpnb.pipelines.unconditional import LDMPipeline as LDMPipeline
from dpnb.pipelines.unconditional import PNDMPipeline as PNDMPipeline
from dpnb.pipelines.upscale import StableDiffusionUpscalePipeline as StableDiffusionUpscalePipeline
from dpnb.planning.device_profile import DeviceProfile as DeviceProfile
from dpnb.planning.planner import plan as plan
from dpnb.planning.run_failures import SimulatedRunError as SimulatedRunError
from dpnb.planning.table import PlanError as PlanError
from dpnb.planning.table import PlanTable as PlanTable
from dpnb.planning.valueless import HollowError as HollowError
from dpnb.planning.valueless import ValuelessTensorError as ValuelessTensorError
from dpnb.planning.workload import Workload as Workload
from dpnb.prompt_file import PromptFileError as PromptFileError
from dpnb.schedulers.ddim import DDIMScheduler as DDIMScheduler
from dpnb.schedulers.ddim_inverse import DDIMInverseScheduler as DDIMInverseScheduler
from dpnb.schedulers.ddim_parallel import DDIMParallelScheduler as DDIMParallelScheduler
from dpnb.schedulers.ddpm import DDPMScheduler as DDPMScheduler
from dpnb.schedulers.ddpm_parallel import DDPMParallelScheduler as DDPMParallelScheduler
from dpnb.schedulers.deis import DEISMultistepScheduler as DEISMultistepScheduler
from dpnb.schedulers.dpm_inverse import (
    DPMSolverMultistepInverseScheduler as DPMSolverMultistepInverseScheduler,
)
from dpnb.schedulers.dpm_sde import DPMSolverSDEScheduler as DPMSolverSDEScheduler
from dpnb.schedulers.dpm_singlestep import (
    DPMSolverSinglestepScheduler as DPMSolverSinglestepScheduler,
)
from dpnb.schedulers.dpm_solver import DPMSolverMultistepScheduler as DPMSolverMultistepScheduler
from dpnb.schedulers.edm_dpm_solver import (
    EDMDPMSolverMultistepScheduler as EDMDPMSolverMultistepScheduler,
)
from dpnb.schedulers.edm_euler import EDMEulerScheduler as EDMEulerScheduler
from dpnb.schedulers.euler import EulerDiscreteScheduler as EulerDiscreteScheduler
from dpnb.schedulers.euler_ancestral import (
    EulerAncestralDiscreteScheduler as EulerAncestralDiscreteScheduler,
)
from dpnb.schedulers.flow_match import (
    FlowMatchEulerDiscreteScheduler as FlowMatchEulerDiscreteScheduler,
)
from dpnb.schedulers.flow_match_heun import (
    FlowMatchHeunDiscreteScheduler as FlowMatchHeunDiscreteScheduler,
)
from dpnb.schedulers.flow_match_lcm import FlowMatchLCMScheduler as FlowMatchLCMScheduler
from dpnb.schedulers.heun import HeunDiscreteScheduler as HeunDiscreteScheduler
from dpnb.schedulers.ipndm import IPNDMScheduler as IPNDMScheduler
from dpnb.schedulers.k_dpm_2 import KDPM2DiscreteScheduler as KDPM2DiscreteScheduler
from dpnb.schedulers.k_dpm_2_ancestral import (
    KDPM2AncestralDiscreteScheduler as KDPM2AncestralDiscreteScheduler,
)
from dpnb.schedulers.lcm import LCMScheduler as LCMScheduler
from dpnb.schedulers.lms import LMSDiscreteScheduler as LMSDiscreteScheduler
from dpnb.schedulers.pndm import PNDMScheduler as PNDMScheduler
from dpnb.schedulers.sa_solver import SASolverScheduler as SASolverScheduler
from dpnb.schedulers.tcd import TCDScheduler as TCDScheduler
from dpnb.schedulers.unipc import UniPCMultistepScheduler as UniPCMultistepScheduler
from dpnb.stages import Stage as Stage
from dpnb.stages import Step as Step
from dpnb.strategies.attention import AttentionSlicing as AttentionSlicing
from dpnb.strategies.attention import XFormers as XFormers
from dpnb.strategies.attention_kernel import AttentionKernel as AttentionKernel
from dpnb.strategies.compilation import Compile as Compile
from dpnb.strategies.component_switches import ComponentFreeU as ComponentFreeU
from dpnb.strategies.component_switches import ComponentFusion as ComponentFusion
from dpnb.strategies.component_switches import ComponentSlicing as ComponentSlicing
from dpnb.strategies.component_switches import ComponentTiling as ComponentTiling
from dpnb.strategies.conditioning import ConditioningCache as ConditioningCache
from dpnb.strategies.device_map import DeviceMap as DeviceMap
from dpnb.strategies.freeu import FreeU as FreeU
from dpnb.strategies.guidance_interval import GuidanceInterval as GuidanceInterval
from dpnb.strategies.lora import LoRA as LoRA
from dpnb.strategies.out_of_memory import OutOfMemoryError as OutOfMemoryError
from dpnb.strategies.perturbed_attention import PerturbedAttention as PerturbedAttention
from dpnb.strategies.placement import ModelOffload as ModelOffload
from dpnb.strategies.placement import SequentialOffload as SequentialOffload
from dpnb.strategies.plans import plan_from_json as plan_from_json
from dpnb.strategies.plans import plan_to_json as plan_to_json
from dpnb.strategies.plans import plan_to_python as plan_to_python
from dpnb.strategies.precision import Precision as Precision
from dpnb.strategies.presets import PRESETS as PRESETS
from dpnb.strategies.projection import QKVFusion as QKVFusion
from dpnb.strategies.quantization import Quantization as Quantization
from dpnb.strategies.runs import RunError as RunError
from dpnb.strategies.shared import BrokenPipelineError as BrokenPipelineError
from dpnb.strategies.step_cache import StepCache as StepCache
from dpnb.strategies.storage import ChannelsLast as ChannelsLast
from dpnb.strategies.storage import LayerwiseCasting as LayerwiseCasting
from dpnb.strategies.tiny_decoder import TinyDecoder as TinyDecoder
from dpnb.strategies.token_merging import TokenMerging as TokenMerging
from dpnb.strategies.vae import VaeSlicing as VaeSlicing
from dpnb.strategies.vae import VaeTiling as VaeTiling
from dpnb.utils import logging as logging
from dpnb.widgets.boards import dashboard as dashboard
from dpnb.widgets.grid import Grid as Grid
from dpnb.widgets.grid import grid as grid
from dpnb.widgets.history_panel import HistoryPanel as HistoryPanel
from dpnb.widgets.job import StoppedError as StoppedError
from dpnb.widgets.marimo_dashboard import AnywidgetError as AnywidgetError
from dpnb.widgets.marimo_dashboard import marimo_dashboard as marimo_dashboard
from dpnb.widgets.memory_panel import MemoryPanel as MemoryPanel
from dpnb.widgets.planner_panel import PlannerPanel as PlannerPanel
from dpnb.widgets.run_panel import RunPanel as RunPanel
from dpnb.widgets.session_error import SessionError as SessionError
from dpnb.widgets.state import Request as Request
from dpnb.widgets.strategy_panel import StrategyPanel as StrategyPanel
from dpnb.widgets.uploads import UploadError as UploadError

__all__: list[str]
__version__: str
