import os

import torch

# Workers of pytest-xdist share the machine; several thread pools on the same cores only collide.
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)
