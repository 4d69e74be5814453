"""Adapters (LoRA) as changes of parameters, by the names and settings of several trainers."""
