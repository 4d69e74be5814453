"""How near two embeddings are."""

from diffusers.utils import logging
from torch import Tensor
from torch.nn import functional

logger = logging.get_logger(__name__)


def likeness(one: Tensor, other: Tensor) -> Tensor:
    return functional.cosine_similarity(one, other, dim=-1)
