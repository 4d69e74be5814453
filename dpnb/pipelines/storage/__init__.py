"""Pipelines on disk and hub: where they come from, how they are loaded and saved."""
