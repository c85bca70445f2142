"""The benchmark that makes the load itself: it runs what it says, and leaves nothing behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.load.beside import running

ROOT = Path(__file__).parents[2]


def test_both_checkouts_are_timed_in_turn_beside_the_load(tmp_path):
    path = tmp_path / "rows.json"
    command = [sys.executable, "-m", "benchmarks.load", "-n", "8", "--load", "busy"]
    command += ["--seconds=0", f"--against={ROOT}", f"--out={path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads(path.read_text())["rows"]
    assert [(row["checkout"], row["contender"]) for row in rows] == [
        (checkout, contender)
        for checkout in ("here", "against")
        for contender in ("ntxent", "dense eager")
    ]
    for row in rows:
        assert row["load"] == "busy"
        assert row["load_cores"] > 0
        low, high = row["quartiles_ms"]
        assert 0 < low <= row["median_ms"] <= high
        assert row["rounds"] >= 5
        assert row["loss"] == pytest.approx(rows[0]["loss"], rel=1e-5)
        assert ("x_dense" in row) == (row["contender"] == "ntxent")
        assert ("x_against" in row) == (row["contender"] == "ntxent" and row["checkout"] == "here")
    assert "x against" in done.stdout


def test_a_load_ends_with_what_it_stood_beside():
    with running("busy") as load:
        process = load.process
        assert process.poll() is None
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_another_checkout_without_the_package_is_refused(tmp_path):
    command = [sys.executable, "-m", "benchmarks.load", "--against", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "expected a checkout with src/ntxent in it" in done.stderr
