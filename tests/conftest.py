import os

import torch
from hypothesis import settings

# How long an example takes says how busy the machine is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# Workers of pytest-xdist share the machine; several thread pools on the same cores only collide.
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)

# The kernels are interpreted in processes of their own, where test_cuda.py runs this file.
collect_ignore = (
    []
    if "TRITON_INTERPRET" in os.environ
    else ["engines/interpreted_kernels.py", "engines/interpreted_half_products.py"]
)
