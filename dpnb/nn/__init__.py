"""Layers and operations that networks are built of; they import torch alone."""
