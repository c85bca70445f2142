"""The digits beside lightly's SimCLR: the committed script writes comparable rows."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_contender_takes_the_same_steps(tmp_path):
    path = tmp_path / "rows.json"
    command = [sys.executable, "-m", "benchmarks.claims.digits", "--seeds=3", "--epochs=1"]
    done = subprocess.run([*command, f"--rows={path}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = json.loads(path.read_text())
    assert written["environment"]["versions"]["lightly"]
    rows = {row["contender"]: row for row in written["rows"]}
    assert list(rows) == ["ntxent", "lightly", "lightly, AdamW"]
    for row in rows.values():
        assert (row["seed"], row["steps"]) == (3, 5)
        assert row["step_ms"] > 0
        assert 0.9 < row["linear_all"] <= 1
    assert "lightly, AdamW" in done.stdout
