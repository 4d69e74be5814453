"""Components plus one loop: the pipelines."""
