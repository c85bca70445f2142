"""The page on scaling is what the simulator says of the committed rows."""

import json

from benchmarks.claims import scaling

ROWS = json.loads(scaling.ROWS.read_text())["rows"]


def test_the_tables_of_the_page_are_those_of_the_simulator():
    assert scaling.PAGE.read_text() == scaling.page()


def test_the_bytes_of_the_model_are_those_that_were_counted():
    for row in ROWS:
        if row["processes"] > 1:
            cost = scaling._model(row, scaling.Machine(1.0, 1.0, 0.0))
            assert abs(cost.sent / 1e6 - row["sent_mb"]) < 2e-3 * row["sent_mb"] + 2e-3


def test_a_rank_of_a_ring_needs_memory_in_proportion_to_its_rows():
    peaks = {r["n"]: r["peak_mb"] for r in ROWS if r["mode"] == "ring" and "step_ms" not in r}
    (n1, low), *_, (n2, high) = sorted(peaks.items())
    assert high / low <= n2 / n1
