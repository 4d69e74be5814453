"""What a network tells of itself, and what may be asked of it in training."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from torch import nn

from dpnb.models.network_adapters import STANDING_IN, NetworkAdapters
from dpnb.nn.checkpointing import Checkpointed
from dpnb.nn.quantized import nbytes_of
from dpnb.switchboard import STANDS_FOR

NO_CACHE = (
    "dpnb keeps nothing of a network's steps for later ones; leave the cache out, or attach a "
    "pipeline of diffusers that has it on, dpnb.attach(pipe)."
)

NO_ADAPTER = (
    "A network of dpnb's reads and writes no files of adapters; load them with "
    "pipe.load_lora_weights(...), and train with peft's layers, add_adapter(LoraConfig(...)), "
    "which save_lora_weights of the pipeline's class writes."
)


NAMED_ALONE = frozenset(
    {
        "active_adapters",
        "add_adapter",
        "attn_processors",
        "delete_adapters",
        "disable_adapters",
        "enable_adapters",
        "enable_cache",
        "load_lora_adapter",
        "save_lora_adapter",
        "set_adapter",
        "set_attn_processor",
        "set_default_attn_processor",
    }
)
"""What networks have for scripts, and what does not do all that other packages' networks do."""


class Introspection(NetworkAdapters):
    """Counts, and switches for training."""

    _supports_gradient_checkpointing: ClassVar[bool] = True

    repeated_blocks: ClassVar[tuple[type[nn.Module], ...]] = ()
    """The classes of blocks of which there are many."""

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """How many numbers the weights have.

        Args:
            only_trainable: count those alone that ask for a gradient.
            exclude_embeddings: leave tables of embeddings out.
        """
        tables = {
            id(module.weight)
            for module in self.modules()
            if exclude_embeddings and isinstance(module, nn.Embedding)
        }
        return sum(
            parameter.numel()
            for parameter in self.parameters()
            if id(parameter) not in tables and (parameter.requires_grad or not only_trainable)
        )

    def get_memory_footprint(self, return_buffers: bool = True) -> int:
        """Bytes of all parameters, and of buffers unless these are left out."""
        buffers = sum(buffer.nbytes for buffer in self.buffers())
        return nbytes_of(self) - (0 if return_buffers else buffers)

    # --- training ---

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether blocks compute their activations again in a backward pass."""
        return any(block.is_checkpointed for block in self._checkpointed())

    def enable_gradient_checkpointing(self, gradient_checkpointing_func: None = None) -> None:
        """Keep the inputs of blocks alone in training, and compute the rest again.

        Args:
            gradient_checkpointing_func: must be `None`: it is torch's `checkpoint`.

        Raises:
            ValueError: it is another one.
        """
        if gradient_checkpointing_func is not None:
            raise ValueError(
                "gradient_checkpointing_func is torch.utils.checkpoint.checkpoint here; leave it "
                "out."
            )
        for block in self._checkpointed():
            block.is_checkpointed = True

    def disable_gradient_checkpointing(self) -> None:
        """Keep all activations."""
        for block in self._checkpointed():
            vars(block).pop("is_checkpointed", None)

    def _checkpointed(self) -> list[Checkpointed]:
        return [module for module in self.modules() if isinstance(module, Checkpointed)]

    def compile_repeated_blocks(self, *args: Any, **kwargs: Any) -> None:
        """Let torch compile each of the blocks of which there are many, once for all of a kind.

        Args:
            args: of `torch.compile`.
            kwargs: likewise.

        Raises:
            ValueError: there are none.
        """
        blocks = [module for module in self.modules() if isinstance(module, self.repeated_blocks)]
        if not blocks:
            raise ValueError(
                f"{type(self).__name__} has no block of which there are many; call its compile()."
            )
        for block in blocks:
            block.compile(*args, **kwargs)

    # --- what there is not ---

    def enable_cache(self, config: Any) -> NoReturn:
        """Refuse.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(NO_CACHE)

    def disable_cache(self) -> None:
        """Nothing: there is none."""

    @property
    def is_cache_enabled(self) -> bool:
        """No."""
        return False

    def load_lora_adapter(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(STANDING_IN if STANDS_FOR in vars(self) else NO_ADAPTER)

    def save_lora_adapter(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse; see `load_lora_adapter`."""
        self.load_lora_adapter(*args, **kwargs)
