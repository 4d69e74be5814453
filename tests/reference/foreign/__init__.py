"""Small pipelines of diffusers with random weights, on which attaching is tried."""
