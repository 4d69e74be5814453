"""Reversible changes to a pipeline, each a value that trades memory, latency or quality."""
