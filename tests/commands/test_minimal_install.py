"""What answers where only the package and NumPy are installed: neither PyTorch nor any extra."""

import os
import re
import subprocess
import venv
from pathlib import Path

import numpy as np
import pytest

import ntxent

ABSENT = ("torch", "scipy", "pandas", "yaml", "rich", "jsonargparse", "plotly", "lightning")


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The interpreter of an environment that has this package and NumPy."""
    folder = tmp_path_factory.mktemp("minimal")
    venv.create(folder, with_pip=False, symlinks=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    installed = Path(np.__file__).parent
    for part in (installed, installed.with_name("numpy.libs")):
        if part.exists():
            (packages / part.name).symlink_to(part)
    (packages / "here.pth").write_text(str(Path(ntxent.__file__).parents[1]))
    return folder / "bin" / "python"


def answer(python, *words):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return subprocess.run(
        [python, "-X", "importtime", *words], capture_output=True, text=True, env=environment
    )


@pytest.mark.parametrize("name", ABSENT)
def test_the_environment_lacks_what_it_should(python, name):
    assert answer(python, "-c", f"import {name}").returncode == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("diagnose --loss 6.93 -n 512 -t 0.5", "at chance"),
        ("diagnose --loss 4.844 -n 512 -t 0.5 --json", '"verdict": "impossible"'),
        ("diagnose {log} -t 0.1", "Training works"),
        ("bounds -n 512 -t 0.5", "6.9305"),
        ("bounds -n 64:4096:7 -t 0.1,0.5 --json", '"grid"'),
        ("--help", "diagnose"),
    ],
)
def test_it_answers_and_imports_nothing_slow(python, words, expected, tmp_path):
    log = tmp_path / "train.log"
    log.write_text("".join(f"step {k} loss {3 - k / 100:.2f}\n" for k in range(100)))
    (tmp_path / "config.yaml").write_text("data:\n  batch_size: 256\n")
    found = answer(python, "-m", "ntxent", *words.format(log=log).split())
    assert found.returncode == 0, found.stderr[-500:]
    assert expected in found.stdout
    loaded = set(re.findall(r"\|\s+(\w+)\S*$", found.stderr, re.MULTILINE))
    assert "ntxent" in loaded
    assert not loaded & {"torch", "scipy", "pandas", "lightning"}  # not even tried


def test_a_command_of_the_trainer_says_what_to_install(python):
    found = answer(python, "-m", "ntxent", "presets")
    assert found.returncode == 2
    assert 'pip install "ntxent[train]"' in found.stderr
