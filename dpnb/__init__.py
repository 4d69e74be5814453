"""Diffusion pipelines for notebooks."""
