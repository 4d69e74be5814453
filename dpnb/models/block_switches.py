"""What may be asked of the blocks of a network: to keep less in training, and to be compiled."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn

from dpnb.nn.checkpointing import Checkpointed


class BlockSwitches(nn.Module):
    """A network that is made of blocks."""

    _supports_gradient_checkpointing: ClassVar[bool] = True

    repeated_blocks: ClassVar[tuple[type[nn.Module], ...]] = ()
    """The classes of blocks of which there are many."""

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
