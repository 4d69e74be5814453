"""The text encoder of the first latent diffusion models, a transformer like BERT."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from dpnb.silence import silence_imports

with silence_imports():
    from transformers import PreTrainedConfig, PreTrainedModel
    from transformers.activations import ACT2FN
    from transformers.modeling_outputs import BaseModelOutput

FLOAT16_LIMIT = torch.finfo(torch.float16).max - 1000


class LDMBertConfig(PreTrainedConfig):
    """Settings of `LDMBertModel`, by the names that `config.json` has.

    Those about dropout and caching are for training; they are kept to be saved again.
    """

    model_type = "ldmbert"
    attribute_map = {  # noqa: RUF012
        "num_attention_heads": "encoder_attention_heads",
        "hidden_size": "d_model",
    }

    def __init__(
        self,
        vocab_size: int = 30522,
        max_position_embeddings: int = 77,
        encoder_layers: int = 32,
        encoder_ffn_dim: int = 5120,
        encoder_attention_heads: int = 8,
        head_dim: int = 64,
        encoder_layerdrop: float = 0.0,
        activation_function: str = "gelu",
        d_model: int = 1280,
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        activation_dropout: float = 0.0,
        init_std: float = 0.02,
        classifier_dropout: float = 0.0,
        scale_embedding: bool = False,
        use_cache: bool = True,
        pad_token_id: int = 0,
        **settings: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.max_position_embeddings = max_position_embeddings
        self.encoder_layers = self.num_hidden_layers = encoder_layers
        self.encoder_ffn_dim = encoder_ffn_dim
        self.encoder_attention_heads = encoder_attention_heads
        self.head_dim = head_dim
        self.encoder_layerdrop = encoder_layerdrop
        self.activation_function = activation_function
        self.d_model = d_model
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.activation_dropout = activation_dropout
        self.init_std = init_std
        self.classifier_dropout = classifier_dropout
        self.scale_embedding = scale_embedding
        self.use_cache = use_cache
        settings.pop("num_hidden_layers", None)
        super().__init__(**settings)
        self.pad_token_id = pad_token_id


class LDMBertModel(PreTrainedModel):
    """A transformer over the tokens of a prompt (Rombach et al. 2022, arXiv:2112.10752)."""

    config_class = LDMBertConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    _no_split_modules = ["LDMBertLayer"]  # noqa: RUF012

    def __init__(self, config: LDMBertConfig) -> None:
        super().__init__(config)
        self.model = LDMBertEncoder(config)
        self.to_logits = nn.Linear(config.d_model, config.vocab_size)
        self.post_init()  # type: ignore[no-untyped-call]

    @override
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> BaseModelOutput:
        """Encode prompts.

        Args:
            input_ids: `[batch, tokens]`.
            attention_mask: zero for tokens that nothing attends to, `[batch, tokens]`.
            output_hidden_states: return the states before every layer and the last ones, too.

        Returns:
            `last_hidden_state` is `[batch, tokens, d_model]`.
        """
        mask = None if attention_mask is None else attention_mask[:, None, None].bool()
        states: list[Tensor] = self.model(input_ids, mask)
        return BaseModelOutput(
            last_hidden_state=states[-1],
            hidden_states=tuple(states) if output_hidden_states else None,
        )


class LDMBertEncoder(nn.Module):
    """Embeddings of tokens and positions, layers, and a norm."""

    def __init__(self, config: LDMBertConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.d_model)
        self.embed_positions = nn.Embedding(config.max_position_embeddings, config.d_model)
        self.layers = nn.ModuleList(LDMBertLayer(config) for _ in range(config.encoder_layers))
        self.layer_norm = nn.LayerNorm(config.d_model)

    @override
    def forward(self, input_ids: Tensor, mask: Tensor | None) -> list[Tensor]:
        """The states before every layer and those after the norm, each `[batch, tokens, dim]`."""
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        states = [self.embed_tokens(input_ids) + self.embed_positions(positions)]
        for layer in self.layers:
            states.append(layer(states[-1], mask))
        return [*states[:-1], self.layer_norm(states[-1])]


class LDMBertLayer(nn.Module):
    """Self-attention and a feed-forward layer, each after a norm and with a residual."""

    def __init__(self, config: LDMBertConfig) -> None:
        super().__init__()
        dim, inner = config.d_model, config.encoder_ffn_dim
        self.self_attn = LDMBertAttention(dim, config.encoder_attention_heads, config.head_dim)
        self.self_attn_layer_norm = nn.LayerNorm(dim)
        self.activation = ACT2FN[config.activation_function]
        self.fc1 = nn.Linear(dim, inner)
        self.fc2 = nn.Linear(inner, dim)
        self.final_layer_norm = nn.LayerNorm(dim)

    @override
    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Transform `[batch, tokens, dim]`."""
        x = x + self.self_attn(self.self_attn_layer_norm(x), mask)
        x = x + self.fc2(self.activation(self.fc1(self.final_layer_norm(x))))
        return x.clamp(-FLOAT16_LIMIT, FLOAT16_LIMIT) if x.dtype == torch.float16 else x


class LDMBertAttention(nn.Module):
    """Attention of all tokens to all that are not masked."""

    def __init__(self, dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, head_dim
        self.q_proj = nn.Linear(dim, heads * head_dim, bias=False)
        self.k_proj = nn.Linear(dim, heads * head_dim, bias=False)
        self.v_proj = nn.Linear(dim, heads * head_dim, bias=False)
        self.out_proj = nn.Linear(heads * head_dim, dim)

    @override
    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Attend, `[batch, tokens, dim]`."""
        query, key, value = (
            project(x).unflatten(-1, (self.heads, self.head_dim)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.out_proj(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]
