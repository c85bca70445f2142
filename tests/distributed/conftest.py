"""Groups of processes, which the tests of a module share."""

import pytest

from ranks import Worlds


@pytest.fixture(scope="module")
def worlds():
    """``worlds(size)(function, *arguments)`` runs the function on each of ``size`` ranks."""
    made = Worlds()
    yield made
    made.close()
