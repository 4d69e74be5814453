"""Schedulers in files, and which can be built from the settings of which."""

from __future__ import annotations

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

from dpnb.loading.checkpoint_files import explain_settings_errors
from dpnb.loading.config import Configured
from dpnb.loading.hub import upload_folder
from dpnb.schedulers.catalog import load_public_name


class StoredScheduler(Configured):
    """What every scheduler, also one of one's own, can do with its settings."""

    config_name: ClassVar[str] = "scheduler_config.json"
    has_compatibles: ClassVar[bool] = True
    """Whether there is `compatibles`."""

    interchangeable: ClassVar[tuple[str, ...]] = ()
    """The names of the classes that serve the same models."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """The setting of this name, with a warning: older scripts read it so."""
            config = vars(self).get("config", {})
            if name.startswith("_") or name not in config:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            warnings.warn(
                f"{name} is a setting of this {type(self).__name__}; read it as config.{name}.",
                FutureWarning,
                stacklevel=2,
            )
            return config[name]

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        subfolder: str | None = None,
        return_unused_kwargs: bool = False,
        **changes: Any,
    ) -> Any:
        """Build from a `scheduler_config.json`.

        The file may be another scheduler's: settings that this class does not know are kept, and
        written by `save_config`.

        Args:
            pretrained_model_name_or_path: a folder, or a hub repository's name.
            subfolder: inside it.
            return_unused_kwargs: return the scheduler and the settings that it does not know.
            changes: settings that override those of the file, and fields of
                `dpnb.loading.hub.HubOptions`.

        Raises:
            CheckpointError: there is no such file, or it is damaged.
            SettingsError: its settings are not ones that this class can have.
            ValueError: `changes` are not.
            HubError: the repository cannot be reached.
        """
        place = pretrained_model_name_or_path
        settings, own = cls.load_config(
            place, subfolder=subfolder, return_unused_kwargs=True, **changes
        )
        with explain_settings_errors(Path(place, subfolder or "", cls.config_name)):
            if not own:
                return cls.from_config(settings, return_unused_kwargs)
            cls.config_class.parse(settings)
        return cls.from_config(settings, return_unused_kwargs, **own)

    def save_pretrained(
        self, save_directory: str | Path, push_to_hub: bool = False, **options: Any
    ) -> None:
        """Write `scheduler_config.json` into a folder, which is made if need be.

        Args:
            save_directory: the folder.
            push_to_hub: upload it as well, to `repo_id`, or the folder's name.
            options: those of `StoredScheduler.push_to_hub`.
        """
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        self.save_config(folder)
        if push_to_hub:
            self.push_to_hub(**{"repo_id": folder.name, **options})

    def push_to_hub(
        self,
        repo_id: str,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | bool | None = None,
        create_pr: bool = False,
    ) -> str:
        """Upload `scheduler_config.json` as one commit, whose address is returned.

        Args:
            repo_id: `"owner/repository"`, or a repository of the token's owner; made if need be.
            commit_message: one line for the repository's history.
            private: of a repository made now; `None` leaves it to the owner's setting.
            token: an access token that may write; `None` uses the one logged in with.
            create_pr: ask for the change instead of making it.

        Raises:
            HubError: the token may not write there, or there is no connection.
        """
        with TemporaryDirectory() as folder:
            self.save_config(folder)
            return upload_folder(
                folder,
                repo_id,
                commit_message=commit_message,
                private=private,
                token=token,
                create_pr=create_pr,
            )

    @property
    def compatibles(self) -> list[type[Any]]:
        """The classes that `from_config` can build from this configuration."""
        if type(self).__name__ not in self.interchangeable:
            return [type(self)]
        return [load_public_name(name) for name in self.interchangeable]
