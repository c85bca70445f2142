"""Two epochs on 2,000 real images of Debian's Fashion-MNIST, as a user would run them.

The run is killed, resumed, evaluated and opened in a browser. Where the package is not installed,
``apt-get install dataset-fashion-mnist`` gets it, as ``make test`` does.
"""

import json
import multiprocessing
import os
import shutil
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ntxent.simclr.data.idx import read_idx

PACKAGE = Path("/usr/share/datasets/fashion-mnist")
pytestmark = pytest.mark.skipif(
    not PACKAGE.is_dir(), reason=f"no {PACKAGE}: apt-get install dataset-fashion-mnist"
)
CONTEXT = multiprocessing.get_context("spawn")
OPTIONS = (
    *("--epochs=2", "--batch_size=256", "--accelerator=cpu", "--checkpoint_seconds=0"),
    *("--model.width=8", "--evaluation.label_shares=[]"),
)
PROBES = ("--evaluation.draws=2", "--evaluation.labels_per_class=[10]")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The first 2,000 images to train on and the first 500 held out, in files of the format."""
    folder = tmp_path_factory.mktemp("slice")
    for part, count in (("train", 2000), ("t10k", 500)):
        for kind, axes in (("images-idx3", 3), ("labels-idx1", 1)):
            name = f"{part}-{kind}-ubyte"
            array = read_idx(PACKAGE / f"{name}.gz", axes)[:count]
            header = b"".join(size.to_bytes(4, "big") for size in array.shape)
            (folder / name).write_bytes(bytes([0, 0, 8, axes]) + header + array.tobytes())
    return folder


def _main(argv):
    from ntxent.cli import main

    torch.set_num_threads(1)
    with open(os.devnull, "w") as nowhere:
        sys.stdout = sys.stderr = nowhere
        sys.exit(main(argv))


def ntxent(*argv, kill_at=None):
    """The exit status of the command; killed, once the file ``kill_at`` has lines of some steps."""
    process = CONTEXT.Process(target=_main, args=(list(argv),))
    process.start()
    while kill_at is not None and process.is_alive():
        if kill_at.exists() and len(kill_at.read_bytes().splitlines()) > 5:
            process.kill()
            break
        time.sleep(0.01)
    process.join()
    return process.exitcode


@pytest.fixture(scope="module")
def run(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    argv = ("train", f"--data.source={source}", f"--folder={folder}", *OPTIONS, *PROBES)
    assert ntxent(*argv, "--name=whole") == 0
    killed = folder / "killed"
    assert ntxent(*argv, "--name=killed", kill_at=killed / "metrics.csv") == -9
    assert not (killed / "summary.json").exists()
    assert ntxent("train", f"--resume={killed}") == 0
    return killed


def test_a_killed_run_resumes_to_the_same_bits(run):
    whole = run.parent / "whole"
    assert (run / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
    mine, theirs = (load_file(path / "encoder.safetensors") for path in (run, whole))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_it_is_evaluated_with_the_compact_encoder(run):
    assert ntxent("evaluate", str(run)) == 0
    found = json.loads((run / "evaluation.json").read_text())
    assert found["images"] == {"labelled": 2000, "held_out": 500}
    assert found["evaluation"]["encoder"]["linear_all"]["mean"] > 0.6  # chance is 0.1
    weights = load_file(run / "encoder.safetensors")
    assert sum(weight.numel() for weight in weights.values()) < 1_000_000


def test_its_report_opens_in_a_browser(run):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    page_file = run / "report.html"
    assert page_file.stat().st_size < 2.5e6
    wrong = []
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(page_file.as_uri())
        page.evaluate("Page.ready")
        assert page.locator("svg, canvas").count() > 0
        browser.close()
    assert wrong == []
