"""How a network is written into a folder, and uploaded."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from torch import nn

from dpnb.errors import QuantizationError
from dpnb.loading.hub import upload_folder
from dpnb.loading.saving.atomic_folders import replace_folder
from dpnb.loading.weights.weight_files import write_weights
from dpnb.nn.quantized import quantization_of
from dpnb.nn.wrapped_layers import unwrapped


class Saving(nn.Module):
    """A network that is saved."""

    weights_name: ClassVar[str]
    save_config: Callable[..., None]
    suspended: Callable[[], AbstractContextManager[object]]

    def save_pretrained(
        self,
        save_directory: str | Path,
        is_main_process: bool = True,
        save_function: Callable[..., Any] | None = None,
        safe_serialization: bool = True,
        variant: str | None = None,
        max_shard_size: int | str | None = None,
        push_to_hub: bool = False,
        use_flashpack: bool = False,
        **options: Any,
    ) -> None:
        """Write settings and weights into a folder; its former files stay until all is written.

        Switched-on strategies do not change what is written, and layers of peft are left out:
        `save_lora_adapter` writes these.

        Args:
            save_directory: the folder.
            is_main_process: `False`, in all processes but one, writes nothing.
            save_function: has no effect: weights are written tensor by tensor.
            safe_serialization: `False` writes a `.bin` file.
            variant: a word for the names of the weight files.
            max_shard_size: of one weight file, in bytes or as `"5GB"`.
            push_to_hub: upload it as well, to `repo_id`, or the folder's name.
            use_flashpack: must be `False`: there is no such form of files here.
            options: for the upload, those of `push_to_hub`.

        Raises:
            QuantizationError: the weights are quantized.
            ValueError: they are to be written as flashpack.
        """
        if use_flashpack:
            raise ValueError("dpnb writes no flashpack files; leave use_flashpack out.")
        with self.suspended():
            self.check_saveable()
        if not is_main_process:
            return
        form: dict[str, Any] = {"safe_serialization": safe_serialization, "variant": variant}
        with self.suspended(), unwrapped(self), replace_folder(Path(save_directory)) as folder:
            self.save_config(folder)
            weights = self.state_dict()
            write_weights(weights, folder, self.weights_name, max_shard_size=max_shard_size, **form)
        if push_to_hub:
            name = Path(save_directory).resolve().name
            self.push_to_hub(**{"repo_id": name, **form, **options})

    def push_to_hub(
        self,
        repo_id: str,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | bool | None = None,
        create_pr: bool = False,
        safe_serialization: bool = True,
        variant: str | None = None,
        subfolder: str | None = None,
    ) -> str:
        """Upload settings and weights as one commit, whose address is returned.

        Args:
            repo_id: `"owner/repository"`, or a repository of the token's owner; made if need be.
            commit_message: one line for the repository's history.
            private: of a repository made now; `None` leaves it to the owner's setting.
            token: an access token that may write; `None` uses the one logged in with.
            create_pr: ask for the change instead of making it.
            safe_serialization: as for `save_pretrained`.
            variant: likewise.
            subfolder: of the repository, where the files go.

        Raises:
            HubError: the token may not write there, or there is no connection.
            QuantizationError: the weights are quantized.
        """
        with TemporaryDirectory() as folder:
            self.save_pretrained(
                Path(folder, "files", subfolder or ""),
                safe_serialization=safe_serialization,
                variant=variant,
            )
            return upload_folder(
                Path(folder, "files"),
                repo_id,
                commit_message=commit_message,
                private=private,
                token=token,
                create_pr=create_pr,
            )

    def check_saveable(self) -> None:
        """Check that the weights can be saved.

        Raises:
            QuantizationError: they are quantized.
        """
        if (kind := quantization_of(self)) is not None:
            raise QuantizationError(
                f"{type(self).__name__} holds {kind} weights, and only full ones are saved; save "
                "a pipeline that is loaded without quantization_config: what it is quantized to "
                "can be made again at every loading."
            )
