"""What other packages' pipelines load and ours do not, with the way that leads there."""

from __future__ import annotations

from typing import Any, NoReturn

TOKEN = (
    "dpnb loads no textual inversions. Add one by hand: pipe.tokenizer.add_tokens([token]), "
    "pipe.text_encoder.resize_token_embeddings(len(pipe.tokenizer)), and copy its vector into the "
    "last row of pipe.text_encoder.get_input_embeddings().weight."
)

NO_IMAGE_PROMPT = (
    "dpnb loads no image prompts (IP-Adapter); begin with a picture instead, with "
    "StableDiffusionImg2ImgPipeline.from_pipe(pipe)."
)


class Unsupported:
    """Methods that refuse, each in a sentence that names another way."""

    def load_textual_inversion(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(TOKEN)

    def unload_textual_inversion(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse; see `load_textual_inversion`."""
        raise NotImplementedError(TOKEN)

    def maybe_convert_prompt(self, prompt: Any, tokenizer: Any = None) -> Any:
        """`prompt` as it is: no token stands for several vectors."""
        return prompt

    def load_ip_adapter(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(NO_IMAGE_PROMPT)

    def unload_ip_adapter(self) -> NoReturn:
        """Refuse; see `load_ip_adapter`."""
        raise NotImplementedError(NO_IMAGE_PROMPT)

    def set_ip_adapter_scale(self, scale: Any) -> NoReturn:
        """Refuse; see `load_ip_adapter`."""
        raise NotImplementedError(NO_IMAGE_PROMPT)

    def encode_image(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse; see `load_ip_adapter`."""
        raise NotImplementedError(NO_IMAGE_PROMPT)

    def prepare_ip_adapter_image_embeds(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse; see `load_ip_adapter`."""
        raise NotImplementedError(NO_IMAGE_PROMPT)
