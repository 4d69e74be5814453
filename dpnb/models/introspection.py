"""What a network tells of itself."""

from __future__ import annotations

from torch import nn

from dpnb.nn.quantized import nbytes_of


class Introspection(nn.Module):
    """A network that counts its weights."""

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
