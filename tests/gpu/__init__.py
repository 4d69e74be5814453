"""All that is worth knowing of a first GPU, within nine minutes: `python -m tests.gpu --help`."""
