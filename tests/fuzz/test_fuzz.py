"""A minute of random cases, the same ones at each run; ``make fuzz`` goes on for an hour."""

import pytest

from faults import Ledger
from fuzzing import AREAS, WORLDS, fuzz


@pytest.fixture(scope="module", autouse=True)
def _worlds():
    yield
    WORLDS.close()


@pytest.mark.parametrize("name", AREAS)
def test_every_case_is_right_or_refused_in_one_sentence(name):
    area = AREAS[name]
    ledger = Ledger(area.run, patience=4.0)
    fuzz(area, ledger, area.examples)
    assert not ledger.found, (
        f"{len(ledger.found)} faults in {ledger.cases} cases\n{ledger.report()}"
    )
