"""Time and memory of the loss beside other libraries: ``python -m benchmarks --help``."""
