"""Short scripts as people write them for diffusers, run with their import changed."""
