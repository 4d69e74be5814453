"""The public architectures, and random pipelines of their true shape."""
