"""A step beside other work on the same cores: ``python -m benchmarks.load``."""
