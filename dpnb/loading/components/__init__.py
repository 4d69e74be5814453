"""Components of a pipeline: the classes that an index names, foreign code, transformers' parts."""
