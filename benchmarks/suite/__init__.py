"""The losses beside other libraries on the CPU: ``python -m benchmarks``."""
