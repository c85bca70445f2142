"""The losses on a GPU: ``python -m benchmarks.gpu``, and ``.kernels`` without one."""
