import random

import numpy as np
import torch

from ntxent.simclr.train.rng import rng_states, set_rng_states


def test_random_states_return():
    states = rng_states()
    first = random.random(), np.random.rand(), float(torch.rand(()))
    set_rng_states(states)
    assert (random.random(), np.random.rand(), float(torch.rand(()))) == first
