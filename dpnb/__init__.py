"""Draw from words in a notebook: diffusion pipelines of our own, to be watched and changed live.

Names are loaded when they are first used, so that `import dpnb` is quick and imports neither torch
nor transformers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dpnb.switchboard import Switchboard, Switchboards

if TYPE_CHECKING:
    from dpnb.bench.report import Report
    from dpnb.bench.sweep import sweep
    from dpnb.errors import (
        CheckpointError,
        ComponentError,
        DeviceError,
        DpnbError,
        FileError,
        ForeignCodeError,
        ForeignNameError,
        HubError,
        MissingFileError,
        NonFiniteError,
        QuantizationError,
        SaveError,
        SettingsError,
        StrategyError,
    )
    from dpnb.lab import LabError
    from dpnb.loading.adapters.name_patterns import PatternError
    from dpnb.loading.hub.responses import BusyHubError
    from dpnb.loading.quantization import Quantization
    from dpnb.metering.reading import MeterError
    from dpnb.metering.trace import Trace, TraceError
    from dpnb.models.autoencoder import AutoencoderKL
    from dpnb.models.flux import FluxTransformer2DModel
    from dpnb.models.unet import UNet2DConditionModel
    from dpnb.models.unet_2d import UNet2DModel
    from dpnb.models.vq import VQModel
    from dpnb.pipelines.attached.attach import attach
    from dpnb.pipelines.attached.attached_run import AttachError, InterruptedRunError
    from dpnb.pipelines.flux import FluxPipeline
    from dpnb.pipelines.latent_diffusion import LDMTextToImagePipeline
    from dpnb.pipelines.pictures.contact_sheet import contact_sheet
    from dpnb.pipelines.pipeline import DiffusionPipeline
    from dpnb.pipelines.recording import record
    from dpnb.pipelines.sag import StableDiffusionSAGPipeline
    from dpnb.pipelines.shapes.architectures import random_pipeline
    from dpnb.pipelines.stable_diffusion import StableDiffusionPipeline
    from dpnb.pipelines.stable_diffusion_edit import (
        StableDiffusionImg2ImgPipeline,
        StableDiffusionInpaintPipeline,
    )
    from dpnb.pipelines.stable_diffusion_xl import StableDiffusionXLPipeline
    from dpnb.pipelines.stable_diffusion_xl_edit import (
        StableDiffusionXLImg2ImgPipeline,
        StableDiffusionXLInpaintPipeline,
    )
    from dpnb.planning.device_profile import DeviceProfile
    from dpnb.planning.planner import plan
    from dpnb.planning.run_failures import SimulatedRunError
    from dpnb.planning.table import PlanError, PlanTable
    from dpnb.planning.valueless import HollowError, ValuelessTensorError
    from dpnb.planning.workload import Workload
    from dpnb.prompt_file import PromptFileError
    from dpnb.schedulers import (
        DDIMScheduler,
        DDPMScheduler,
        DPMSolverMultistepScheduler,
        EulerAncestralDiscreteScheduler,
        EulerDiscreteScheduler,
        FlowMatchEulerDiscreteScheduler,
        HeunDiscreteScheduler,
        LCMScheduler,
        LMSDiscreteScheduler,
        PNDMScheduler,
        UniPCMultistepScheduler,
    )
    from dpnb.stages import Stage, Step
    from dpnb.strategies.attention import AttentionSlicing, XFormers
    from dpnb.strategies.component_switches import (
        ComponentFreeU,
        ComponentFusion,
        ComponentSlicing,
        ComponentTiling,
    )
    from dpnb.strategies.conditioning import ConditioningCache
    from dpnb.strategies.device_map import DeviceMap
    from dpnb.strategies.freeu import FreeU
    from dpnb.strategies.lora import LoRA
    from dpnb.strategies.out_of_memory import OutOfMemoryError
    from dpnb.strategies.placement import ModelOffload, SequentialOffload
    from dpnb.strategies.plans import plan_from_json, plan_to_json, plan_to_python
    from dpnb.strategies.presets import PRESETS
    from dpnb.strategies.projection import QKVFusion
    from dpnb.strategies.runs import RunError
    from dpnb.strategies.shared import BrokenPipelineError
    from dpnb.strategies.storage import ChannelsLast, LayerwiseCasting
    from dpnb.strategies.vae import VaeSlicing, VaeTiling
    from dpnb.widgets.dashboard import dashboard
    from dpnb.widgets.history_panel import HistoryPanel
    from dpnb.widgets.job import StoppedError
    from dpnb.widgets.memory_panel import MemoryPanel
    from dpnb.widgets.planner_panel import PlannerPanel
    from dpnb.widgets.run_panel import RunPanel
    from dpnb.widgets.session import SessionError
    from dpnb.widgets.state import Request
    from dpnb.widgets.strategy_panel import StrategyPanel
    from dpnb.widgets.uploads import UploadError

__version__ = "0.1.0"

_HOMES = {
    "AutoencoderKL": "dpnb.models.autoencoder",
    "FluxTransformer2DModel": "dpnb.models.flux",
    "UNet2DConditionModel": "dpnb.models.unet",
    "UNet2DModel": "dpnb.models.unet_2d",
    "VQModel": "dpnb.models.vq",
    "DiffusionPipeline": "dpnb.pipelines.pipeline",
    "FluxPipeline": "dpnb.pipelines.flux",
    "LDMTextToImagePipeline": "dpnb.pipelines.latent_diffusion",
    "StableDiffusionImg2ImgPipeline": "dpnb.pipelines.stable_diffusion_edit",
    "StableDiffusionInpaintPipeline": "dpnb.pipelines.stable_diffusion_edit",
    "StableDiffusionPipeline": "dpnb.pipelines.stable_diffusion",
    "StableDiffusionSAGPipeline": "dpnb.pipelines.sag",
    "StableDiffusionXLImg2ImgPipeline": "dpnb.pipelines.stable_diffusion_xl_edit",
    "StableDiffusionXLInpaintPipeline": "dpnb.pipelines.stable_diffusion_xl_edit",
    "StableDiffusionXLPipeline": "dpnb.pipelines.stable_diffusion_xl",
    "Stage": "dpnb.stages",
    "Step": "dpnb.stages",
    "Trace": "dpnb.metering.trace",
    "contact_sheet": "dpnb.pipelines.pictures.contact_sheet",
    "random_pipeline": "dpnb.pipelines.shapes.architectures",
    "AttachError": "dpnb.pipelines.attached.attached_run",
    "InterruptedRunError": "dpnb.pipelines.attached.attached_run",
    "attach": "dpnb.pipelines.attached.attach",
    "record": "dpnb.pipelines.recording",
    "DDIMScheduler": "dpnb.schedulers",
    "DDPMScheduler": "dpnb.schedulers",
    "DPMSolverMultistepScheduler": "dpnb.schedulers",
    "EulerAncestralDiscreteScheduler": "dpnb.schedulers",
    "EulerDiscreteScheduler": "dpnb.schedulers",
    "FlowMatchEulerDiscreteScheduler": "dpnb.schedulers",
    "HeunDiscreteScheduler": "dpnb.schedulers",
    "LCMScheduler": "dpnb.schedulers",
    "LMSDiscreteScheduler": "dpnb.schedulers",
    "PNDMScheduler": "dpnb.schedulers",
    "UniPCMultistepScheduler": "dpnb.schedulers",
    "AttentionSlicing": "dpnb.strategies.attention",
    "XFormers": "dpnb.strategies.attention",
    "ModelOffload": "dpnb.strategies.placement",
    "DeviceMap": "dpnb.strategies.device_map",
    "OutOfMemoryError": "dpnb.strategies.out_of_memory",
    "SequentialOffload": "dpnb.strategies.placement",
    "Quantization": "dpnb.loading.quantization",
    "QKVFusion": "dpnb.strategies.projection",
    "ConditioningCache": "dpnb.strategies.conditioning",
    "ComponentFreeU": "dpnb.strategies.component_switches",
    "ComponentFusion": "dpnb.strategies.component_switches",
    "ComponentSlicing": "dpnb.strategies.component_switches",
    "ComponentTiling": "dpnb.strategies.component_switches",
    "LayerwiseCasting": "dpnb.strategies.storage",
    "ChannelsLast": "dpnb.strategies.storage",
    "FreeU": "dpnb.strategies.freeu",
    "LoRA": "dpnb.strategies.lora",
    "VaeSlicing": "dpnb.strategies.vae",
    "VaeTiling": "dpnb.strategies.vae",
    "PRESETS": "dpnb.strategies.presets",
    "dashboard": "dpnb.widgets.dashboard",
    "HistoryPanel": "dpnb.widgets.history_panel",
    "MemoryPanel": "dpnb.widgets.memory_panel",
    "PlannerPanel": "dpnb.widgets.planner_panel",
    "Request": "dpnb.widgets.state",
    "RunPanel": "dpnb.widgets.run_panel",
    "StrategyPanel": "dpnb.widgets.strategy_panel",
    "DeviceProfile": "dpnb.planning.device_profile",
    "PlanTable": "dpnb.planning.table",
    "Report": "dpnb.bench.report",
    "Workload": "dpnb.planning.workload",
    "plan": "dpnb.planning.planner",
    "sweep": "dpnb.bench.sweep",
    "FileError": "dpnb.errors",
    "MissingFileError": "dpnb.errors",
    "SettingsError": "dpnb.errors",
    "SaveError": "dpnb.errors",
    "BrokenPipelineError": "dpnb.strategies.shared",
    "RunError": "dpnb.strategies.runs",
    "BusyHubError": "dpnb.loading.hub.responses",
    "PatternError": "dpnb.loading.adapters.name_patterns",
    "UploadError": "dpnb.widgets.uploads",
    "CheckpointError": "dpnb.errors",
    "ComponentError": "dpnb.errors",
    "DeviceError": "dpnb.errors",
    "DpnbError": "dpnb.errors",
    "ForeignCodeError": "dpnb.errors",
    "ForeignNameError": "dpnb.errors",
    "HollowError": "dpnb.planning.valueless",
    "SimulatedRunError": "dpnb.planning.run_failures",
    "ValuelessTensorError": "dpnb.planning.valueless",
    "HubError": "dpnb.errors",
    "LabError": "dpnb.lab",
    "MeterError": "dpnb.metering.reading",
    "NonFiniteError": "dpnb.errors",
    "PlanError": "dpnb.planning.table",
    "PromptFileError": "dpnb.prompt_file",
    "QuantizationError": "dpnb.errors",
    "SessionError": "dpnb.widgets.session",
    "StoppedError": "dpnb.widgets.job",
    "StrategyError": "dpnb.errors",
    "TraceError": "dpnb.metering.trace",
    "plan_to_json": "dpnb.strategies.plans",
    "plan_from_json": "dpnb.strategies.plans",
    "plan_to_python": "dpnb.strategies.plans",
}

__all__ = [
    "PRESETS",
    "AttachError",
    "AttentionSlicing",
    "AutoencoderKL",
    "BrokenPipelineError",
    "BusyHubError",
    "ChannelsLast",
    "CheckpointError",
    "ComponentError",
    "ComponentFreeU",
    "ComponentFusion",
    "ComponentSlicing",
    "ComponentTiling",
    "ConditioningCache",
    "DDIMScheduler",
    "DDPMScheduler",
    "DPMSolverMultistepScheduler",
    "DeviceError",
    "DeviceMap",
    "DeviceProfile",
    "DiffusionPipeline",
    "DpnbError",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "FileError",
    "FlowMatchEulerDiscreteScheduler",
    "FluxPipeline",
    "FluxTransformer2DModel",
    "ForeignCodeError",
    "ForeignNameError",
    "FreeU",
    "HeunDiscreteScheduler",
    "HistoryPanel",
    "HollowError",
    "HubError",
    "InterruptedRunError",
    "LCMScheduler",
    "LDMTextToImagePipeline",
    "LMSDiscreteScheduler",
    "LabError",
    "LayerwiseCasting",
    "LoRA",
    "MemoryPanel",
    "MeterError",
    "MissingFileError",
    "ModelOffload",
    "NonFiniteError",
    "OutOfMemoryError",
    "PNDMScheduler",
    "PatternError",
    "PlanError",
    "PlanTable",
    "PlannerPanel",
    "PromptFileError",
    "QKVFusion",
    "Quantization",
    "QuantizationError",
    "Report",
    "Request",
    "RunError",
    "RunPanel",
    "SaveError",
    "SequentialOffload",
    "SessionError",
    "SettingsError",
    "SimulatedRunError",
    "StableDiffusionImg2ImgPipeline",
    "StableDiffusionInpaintPipeline",
    "StableDiffusionPipeline",
    "StableDiffusionSAGPipeline",
    "StableDiffusionXLImg2ImgPipeline",
    "StableDiffusionXLInpaintPipeline",
    "StableDiffusionXLPipeline",
    "Stage",
    "Step",
    "StoppedError",
    "StrategyError",
    "StrategyPanel",
    "Trace",
    "TraceError",
    "UNet2DConditionModel",
    "UNet2DModel",
    "UniPCMultistepScheduler",
    "UploadError",
    "VQModel",
    "VaeSlicing",
    "VaeTiling",
    "ValuelessTensorError",
    "Workload",
    "XFormers",
    "__version__",
    "attach",
    "contact_sheet",
    "dashboard",
    "plan",
    "plan_from_json",
    "plan_to_json",
    "plan_to_python",
    "random_pipeline",
    "record",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"dpnb has no {name}; it has {', '.join(__all__)}.")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


def _switchboard(network: object, component: str) -> Switchboard:
    module = import_module("dpnb.strategies.network_switchboard")
    switchboard: Switchboard = module.NetworkSwitchboard.of(network, component)
    return switchboard


Switchboards.make = _switchboard
