"""Repositories of the Hugging Face hub: fetching them into its cache, and uploading folders."""

from dpnb.loading.hub.cached_pipelines import list_cached_pipelines
from dpnb.loading.hub.repositories import (
    HubOptions,
    fetch,
    fetch_file,
    find_cached_file,
    local_folder,
    upload_folder,
    use_proxies,
)

__all__ = [
    "HubOptions",
    "fetch",
    "fetch_file",
    "find_cached_file",
    "list_cached_pipelines",
    "local_folder",
    "upload_folder",
    "use_proxies",
]
