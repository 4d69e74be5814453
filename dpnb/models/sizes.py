"""How large a network is."""

from __future__ import annotations

from torch import nn


class SizedModel(nn.Module):
    """What a network says of its size."""

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """How many numbers its weights are.

        Args:
            only_trainable: count those alone that gradients are computed for.
            exclude_embeddings: leave out tables that are looked up, as of words.
        """
        tables = {
            f"{name}.weight" if name else "weight"
            for name, layer in self.named_modules()
            if isinstance(layer, nn.Embedding) and exclude_embeddings
        }
        return sum(
            parameter.numel()
            for name, parameter in self.named_parameters()
            if name not in tables and (parameter.requires_grad or not only_trainable)
        )

    def get_memory_footprint(self, return_buffers: bool = True) -> int:
        """Bytes of its weights.

        Args:
            return_buffers: count its buffers too.
        """
        tensors = [*self.parameters(), *(self.buffers() if return_buffers else ())]
        return sum(tensor.nbytes for tensor in tensors)
