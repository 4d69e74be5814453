"""What can go wrong, each as one sentence that names the value, the rule and the remedy.

A mistake in an argument is a `ValueError` or `TypeError`; the classes here are for circumstances.
"""


class DpnbError(Exception):
    """Base of every circumstance that dpnb reports; the message says what to do next."""


class UnknownValueError(DpnbError, RuntimeError):
    """Something decides by a value that nobody knows, since nothing is computed."""


class FileError(DpnbError, OSError, ValueError):
    """A file cannot be read: it is no regular file, too large, or does not hold what it should."""


class MissingFileError(FileError, FileNotFoundError):
    """There is no such file."""


class CheckpointError(DpnbError, OSError):
    """A file of a checkpoint is missing, damaged, or not what its index says."""


class VariantError(CheckpointError, ValueError):
    """A checkpoint has no weights of the variant that was asked for."""


class SaveError(DpnbError, OSError):
    """A file could not be written; what stood there before is untouched."""


class SettingsError(CheckpointError, ValueError):
    """A checkpoint's settings are not ones that their class can have."""


class HubError(DpnbError, OSError):
    """A repository could not be reached, or refused the request."""


class NonFiniteError(DpnbError, FloatingPointError):
    """A run has made NaN or infinity; the pipeline is as it was before.

    Attributes:
        stage: where they began, by its word; see `Stage`.
        step: which denoising step it was, from 1; `None` in other stages.
        pictures: those of the batch that are spoilt, from 0.
    """

    def __init__(
        self, message: str, stage: str = "", step: int | None = None, pictures: tuple[int, ...] = ()
    ) -> None:
        super().__init__(message)
        self.stage = stage
        self.step = step
        self.pictures = pictures


class DeviceError(DpnbError, ValueError):
    """A device was asked for that is not there."""


class ComponentError(DpnbError, ValueError):
    """A pipeline lacks a component, or was given one that it cannot use."""


class QuantizationError(DpnbError, ValueError):
    """Weights cannot be quantized as asked for, or not be used so as they are quantized."""


class ForeignCodeError(DpnbError, ValueError):
    """A checkpoint names code that is neither dpnb's nor transformers'."""


class ForeignNameError(DpnbError, ImportError):
    """Code that was written for diffusers asks for what dpnb does not have."""


class StrategyError(DpnbError, RuntimeError, ValueError):
    """A strategy cannot be switched on here; the message says why."""


class MissingPackageError(StrategyError, ModuleNotFoundError):
    """A strategy needs a package that is not installed."""


class AdapterError(StrategyError, ValueError):
    """Adapters cannot be switched or fused so; the message says why."""
