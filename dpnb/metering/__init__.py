"""Watching a run from outside."""
