"""The cuda engines where no GPU is: the shared harness in Triton's interpreter, and the compiler.

The interpreter needs its variable set before Triton is imported, so it has processes of its own.
It runs a tile in ten milliseconds; from the harness it takes every case of few rows and some of
many. The compiler needs no GPU to produce a GPU's machine code, and finds what the interpreter
lets pass: types, shapes, memory that a multiprocessor does not have.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ntxent import engines
from ntxent.engines import _triton
from ntxent.engines._triton.precision import products
from ntxent.engines._triton.tiling import candidates

pytest.importorskip("triton", reason="Triton has no package for this system")
ROOT = Path(__file__).parents[2]

FEW = "7-5 or 5-7 or 2-None or 1-1"
MANY = "257-None or 300-None or 40-2100 or 600-260"
CONTRACT = "test_forward_and_backward_obey_the_contract"
ENGINES = "engines/test_engines.py"
# what runs: a file, and pytest's -k
SLICES = {
    "few rows": (
        ENGINES,
        f"{CONTRACT} and ({FEW}) and (cuda] or -2.0-cuda_atomic)",
    ),
    "many rows": (ENGINES, f"{CONTRACT} and ({MANY}) and 50-200.0-cuda]"),
    "many rows, atomic": (
        ENGINES,
        f"{CONTRACT} and ({MANY}) and 50-2.0-cuda_atomic",
    ),
    "laws": (
        ENGINES,
        f"not {CONTRACT} and cuda and (not gradcheck or None-False-cuda])",
    ),
    "accuracy": (
        "losses/test_accuracy.py",
        "cuda] and not 300 and (test_gradient or test_collapsed or (test_float32 and (3-2 or 2-3))"
        " or ((test_float32 or test_half) and 17-127 and (random or clustered)))",
    ),
    "kernels": (
        "engines/interpreted_kernels.py",
        "not tiling and not member and not wide or (tiling and 7-cuda and (bfloat16 or float64))"
        " or nt_xent",
    ),
    "every kernel": ("engines/interpreted_kernels.py", "cuda or not cuda"),
    "half precision": ("engines/interpreted_half_products.py", "cuda or not cuda"),
}


def interpreted(*arguments, **variables):
    """Run Python where Triton interprets."""
    environment = {**os.environ, "TRITON_INTERPRET": "1", **variables}
    environment.pop("PYTEST_ADDOPTS", None)
    return subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=ROOT, capture_output=True, text=True
    )


LONG = ("many rows", "many rows, atomic", "laws", "accuracy", "every kernel")  # a minute and more


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in LONG else []) for name in SLICES],
)
def test_the_shared_harness_in_the_interpreter(name):
    file, expression = SLICES[name]
    run = interpreted(
        "-m", "pytest", f"tests/{file}", "-k", expression, "-q", "-p", "no:cacheprovider"
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
    assert " passed" in run.stdout
    assert " skipped" not in run.stdout


def compiled(*options):
    """What ``benchmarks.gpu.kernels`` finds."""
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu.kernels", "--json", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-5000:]
    return list(map(json.loads, run.stdout.splitlines()))


def assert_fits(rows):
    """In the 99 KiB of the smallest supported device, and in registers where rows are usual."""
    for row in rows:
        assert row["shared"] <= 99 * 1024, row
    tiles = [row for row in rows if row["kernel"] in ("sum_tiles", "gradient")]
    usual = [r for r in tiles if r["precision"] == "bfloat16" and r["width"] == 100]
    assert usual
    assert all(row["spilled"] == 0 for row in usual), usual
    return tiles


def test_the_usual_kernels_compile_and_fit():
    assert_fits(compiled("--widths", "100", "--precisions", "bfloat16", "--architectures", "90"))


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [80, 90])
def test_every_kernel_compiles_and_fits(architecture):
    """For an A100 and an H100, with the first tiling; rows whole and in chunks."""
    rows = []
    for more in (
        ("--widths", "100"),
        ("--widths", "768", "--precisions", "bfloat16", "tf32x3"),
        ("--widths", "128", "--shapes", "one way", "both ways", "--precisions", "bfloat16"),
    ):
        rows += compiled(*more, "--architectures", str(architecture))
    tiles = assert_fits(rows)
    assert {row["precision"] for row in tiles} >= {"bfloat16", "float16", "tf32", "float64"}
    assert {row["atomic"] for row in tiles} == {False, True}
    panels = {row["kernel"] for row in rows if row["panel"] or row["kernel"] == "add_panel"}
    assert panels == {"gradient", "add_panel"}


def test_without_a_gpu_the_reason_is_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(_triton, "INTERPRETED", False)
    assert _triton.obstacle() == "PyTorch sees no CUDA device"


def test_without_triton_the_reason_is_said(monkeypatch):
    monkeypatch.setattr(_triton, "find_spec", lambda name: None)
    assert _triton.obstacle() == "the package triton is not installed"


@pytest.mark.parametrize(("capability", "fits"), [((7, 5), False), ((8, 6), True), ((12, 0), True)])
def test_an_old_gpu_is_named(capability, fits, monkeypatch):
    monkeypatch.setattr(_triton, "INTERPRETED", False)
    monkeypatch.setattr(torch.version, "hip", None)
    for name, value in {
        "is_available": True,
        "device_count": 1,
        "get_device_capability": capability,
        "get_device_name": "Tesla T4",
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    reason = _triton.obstacle()
    assert (reason == "") == fits
    assert fits or reason.startswith("Tesla T4 (cuda:0) has compute capability 7.5, and ")


def test_rocm_is_refused(monkeypatch):
    monkeypatch.setattr(_triton, "INTERPRETED", False)
    monkeypatch.setattr(torch.version, "hip", "7.0")
    assert "ROCm" in _triton.obstacle()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_status_says_so_and_the_tiled_engine_remains():
    for name in ("cuda", "cuda_atomic"):
        status = next(e for e in engines.status() if e.name == name)
        assert (status.available, status.reason) == (False, "PyTorch sees no CUDA device")
        with pytest.raises(RuntimeError, match=f"engine '{name}' cannot be used here: PyTorch"):
            engines.select(name, "cpu")
    assert engines.select("auto", "cpu").name == "tiled"


def test_status_in_the_interpreter_loads_no_triton():
    run = interpreted(
        "-c",
        "import sys; from ntxent import engines\n"
        "found = {e.name: e for e in engines.status()}\n"
        "assert found['cuda'].available and 'cpu' in found['cuda'].devices\n"
        "assert engines.select('auto', 'cpu').name == 'tiled'\n"
        "assert 'triton' not in sys.modules",
    )
    assert run.returncode == 0, run.stderr


@pytest.fixture
def float32_precision():
    """Restores the process's setting."""
    before = torch.get_float32_matmul_precision()
    yield torch.set_float32_matmul_precision
    torch.set_float32_matmul_precision(before)
    if hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        torch.backends.cuda.matmul.fp32_precision = "none"


def test_products_follow_pytorchs_setting(float32_precision):
    x = torch.zeros(1)
    for setting, expected in {
        "high": (torch.float32, "tf32"),
        "medium": (torch.bfloat16, "ieee"),
    }.items():
        float32_precision(setting)
        assert products(x) == expected
        assert products(x.half()) == (torch.float16, "ieee")
        assert products(x.double()) == (torch.float64, "ieee")


@pytest.mark.skipif(
    not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="PyTorch before 2.9"
)
@pytest.mark.parametrize(("asked", "expected"), [("none", "tf32x3"), ("ieee", "ieee")])
def test_single_precision_cores_only_where_asked_for(asked, expected, float32_precision):
    float32_precision("highest")
    torch.backends.cuda.matmul.fp32_precision = asked
    assert products(torch.zeros(1)) == (torch.float32, expected)


def tf32(x):
    """Rounded to TF32's ten bits of mantissa, ties away from zero, as ``cvt.rna`` does."""
    bits = x.view(torch.int32) + 0x1000
    return (bits & ~0x1FFF).view(torch.float32)


@pytest.mark.parametrize("d", [16, 128, 1024])
def test_three_tf32_products_err_no_more_than_float32_does(d):
    """What ``input_precision="tf32x3"`` computes, small terms first, on unit rows."""
    rng = torch.Generator().manual_seed(0)
    x, y = (torch.nn.functional.normalize(torch.randn(500, d, generator=rng)) for _ in range(2))
    exact = x.double() @ y.double().T

    def error(product):
        return float((product - exact).square().mean().sqrt())

    big = tf32(x), tf32(y)
    small = tf32(x - big[0]), tf32(y - big[1])
    wide = [[part.double() for part in parts] for parts in (big, small)]
    (x_big, y_big), (x_small, y_small) = wide
    once = error(x_big @ y_big.T)
    thrice = error(x_small @ y_big.T + x_big @ y_small.T + x_big @ y_big.T)
    single = error((x @ y.T).double())
    assert thrice < 2 * single
    assert once > 100 * single


@pytest.mark.parametrize("width", [1, 16, 100, 128, 129, 768, 2048])
@pytest.mark.parametrize(
    "way", [(torch.bfloat16, "ieee"), (torch.float32, "tf32x3"), (torch.float64, "ieee")]
)
@pytest.mark.parametrize("atomic", [False, True])
def test_tilings_are_powers_of_two_that_cover_whole_rows_or_chunks(atomic, way, width):
    for tiling in candidates(*way, width, atomic=atomic):
        for size in (tiling.block, tiling.depth, tiling.out):
            assert size >= 16
            assert size & (size - 1) == 0
        if tiling.depth >= width:
            assert tiling.out == tiling.depth


def test_the_tuner_times_each_key_once_and_passes_over_what_does_not_fit():
    from ntxent.engines._triton.tuning import Tuner

    times = iter([3.0, None, 1.0, 2.0])
    ran = []

    def time(run):
        run()
        return next(times)

    tuner, tilings = Tuner(time), candidates(torch.float64, "ieee", 64) * 2
    tilings = [tiling._replace(stages=stage) for stage, tiling in enumerate(tilings)]
    assert [tuner.fastest("key", tilings, ran.append) for _ in range(2)] == 2 * [tilings[2]]
    assert ran == tilings
    nothing_fits = Tuner(lambda run: None)
    assert nothing_fits.fastest("key", tilings, ran.append) == tilings[0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_gpu_benchmark_says_what_it_lacks():
    command = [sys.executable, "-m", "benchmarks.gpu"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 2
    assert "PyTorch sees no CUDA device, and this measures one" in run.stderr


def test_the_floors_are_what_the_documentation_says():
    command = [sys.executable, "-m", "doctest", "benchmarks/gpu/floors.py"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
