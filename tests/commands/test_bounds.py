"""``ntxent bounds`` as its user meets it."""

import json
import math
import shlex
import subprocess
import sys

import pytest
from jsonargparse import ArgumentParser

from ntxent import bounds as theory
from ntxent.commands import bounds
from ntxent.report import slides


@pytest.fixture
def command(monkeypatch, capsys):
    def run(line, width=60):
        monkeypatch.setenv("COLUMNS", str(width))
        parser = ArgumentParser(exit_on_error=False)
        bounds.add_arguments(parser)
        assert bounds.run(parser.parse_args(shlex.split(line))) == 0
        return capsys.readouterr().out

    return run


def test_every_theorem_has_its_value_or_the_reason_why_not(command):
    report = json.loads(command("-n 512 -t 0.5 --loss 5.02 --similarity 0.97 --json"))
    rows = {row["name"]: row for row in report["theorems"]}
    assert set(rows) == set(theory.THEOREMS)
    assert rows["ceiling"]["value"] == theory.ceiling(512, 0.5)
    assert rows["floor"]["value"] == theory.floor(512, 0.5, similarity=0.97)
    assert rows["similarity_interval"]["value"] == list(theory.similarity_interval(5.02, 512, 0.5))
    assert rows["uniformity_floor"]["reason"] == "needs --dim"
    assert rows["measured_floor"]["reason"] == "needs --negative-similarity"
    assert report["position"] == pytest.approx(theory.position(5.02, 512, 0.5))
    everything = (
        "-n 512 -t 0.5 --loss 5.2 --similarity 0.9 --negative-similarity 0 --dim 64 --queue 9"
    )
    report = json.loads(command(everything + " --json"))
    assert all(row["reason"] is None for row in report["theorems"])


def test_a_refusal_is_shown_with_its_reason(command):
    out = command("-n 1 -t 0.5")
    assert "—" in out
    assert "nothing to contrast" in " ".join(out.split())


def test_the_table_fits_sixty_columns(command):
    for line in (
        "-n 512 -t 0.5 --loss 5.02 --similarity 0.9",
        "-n 8,4096 -t 0.05:1:4 --dim 9 --loss 3",
    ):
        assert max(map(len, command(line).splitlines())) <= 60


def test_the_loss_is_in_the_units_of_the_variant(command):
    report = json.loads(command("-n 1024 -t 0.5 --variant supcon_ref --loss 41.09 --json"))
    assert report["chance"] == pytest.approx(54.458, abs=1e-3)
    assert report["position"] == pytest.approx(0.0637, abs=1e-4)
    rows = {row["name"]: row for row in report["theorems"]}
    nats = 41.09 * 0.07 / 0.5
    assert rows["similarity_gap"]["value"] == pytest.approx(theory.similarity_gap(nats, 1024, 0.5))


@pytest.mark.parametrize(
    ("line", "sizes", "temperatures"),
    [
        ("-n 512 -t 0.05:1:20", [512], [0.05 * k for k in range(1, 21)]),
        ("-n 64:4096:7 -t 0.5", [64, 128, 256, 512, 1024, 2048, 4096], [0.5]),
        ("-n 64,256 -t 0.05,0.1", [64, 256], [0.05, 0.1]),
        ("-n 2:4:9 -t 1:0.5:2", [2, 3, 4], [1.0, 0.5]),
    ],
)
def test_ranges_make_a_grid(command, line, sizes, temperatures):
    grid = json.loads(command(line + " --json"))["grid"]
    expected = [(n, pytest.approx(t)) for n in sizes for t in temperatures]
    assert [(cell["batch_size"], cell["temperature"]) for cell in grid] == expected
    assert grid[-1]["ceiling"] == pytest.approx(theory.ceiling(sizes[-1], temperatures[-1]))


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("-n 512 -t 0.5 --loss 5.02 --similarity 0.97", ["largest", "smallest"]),
        ("-n 8:64:3 -t 0.5", [f"{name}, τ = 0.5" for name in ("floor", "chance", "ceiling")]),
        (
            "-n 64 -t 0.1:1:5 --dim 8",
            [f"{name}, N = 64" for name in ("floor", "chance", "ceiling", "random")],
        ),
        (
            "-n 64 -t 0.1 --variant clip",
            [f"{name}, τ = 0.1" for name in ("floor", "chance", "ceiling")],
        ),
    ],
)
def test_a_plot_is_a_page_of_the_report_with_one_figure(command, line, names, tmp_path):
    command(f"{line} --plot {tmp_path / 'out.html'}")
    (file,) = tmp_path.iterdir()
    text = file.read_text(encoding="utf-8")
    assert 'http-equiv="Content-Security-Policy"' in text
    assert 'data-figure="plot"' in text
    data = text.partition('id="page-data">')[2].partition("</script>")[0]
    figure = json.loads(data)["figures"]["plot"]
    drawn = [trace["name"] for trace in figure["data"]]
    assert drawn == names


def test_the_plot_of_possible_losses_has_the_values_of_the_bounds(command, tmp_path):
    command(f"-n 64 -t 0.1 --dim 8 --similarity 0.5 --plot {tmp_path / 'out.html'}")
    text = (tmp_path / "out.html").read_text(encoding="utf-8")
    data = text.partition('id="page-data">')[2].partition("</script>")[0]
    largest, smallest = json.loads(data)["figures"]["plot"]["data"]
    assert largest["x"][300] == smallest["x"][300] == 0.5
    high = min(theory.upper_bound(64, 0.1, 0.5), theory.ceiling(64, 0.1))
    assert largest["y"][300] == pytest.approx(high, rel=1e-5)
    assert smallest["y"][300] == pytest.approx(theory.floor(64, 0.1, 8, similarity=0.5), rel=1e-5)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-n 5x -t 0.5", "batch size: received '5x', expected an integer"),
        ("-n 64.5 -t 0.5", "expected an integer"),
        ("-n 64 -t warm", "temperature: received 'warm', expected a number"),
        ("-n 64 -t 0:1:5", "both ends > 0"),
        ("-n 64 -t 0.1:1", "start:stop:count"),
        ("-n 64 -t 0.1:1:1", "a count from 2"),
        ("-n 64 -t 0.1:nan:3", "both ends > 0"),
        ("-n 0 -t 0.5", "batch_size=0"),
        ("-n 64 -t -1", "temperature=-1.0"),
        ("-n 64 -t nan", "temperature=nan"),
        ("-n 64 -t 0.5 --loss=-1", "loss=-1.0: expected a finite loss ≥ 0"),
        ("-n 64 -t 0.5 --variant simclr", "one of nt_xent, simclr_tf"),
        ("-n 64 -t 0.5 --variant moco", "queue=None"),
        ("-n 2:999:500 -t 0.1:1:500", "expected a grid of at most 10000"),
        ("-n 64 -t 0.5 --plot out.pdf", "ends in .html or .png"),
        ("-n 64 -t 0.5 --plot none/out.html", "no folder none; make it first"),
        ("-n 0 -t 0.5 --plot out.html", "batch_size=0"),
    ],
)
def test_mistakes_are_one_clear_line_and_leave_nothing(
    command, line, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, TypeError, OSError)) as refusal:
        command(line)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_png_without_kaleido_says_what_to_install(command, tmp_path, monkeypatch):
    monkeypatch.setattr(slides, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"--plot: PNG needs kaleido; pip install kaleido"):
        command(f"-n 64 -t 0.5 --plot {tmp_path / 'out.png'}")


def test_png_that_cannot_be_drawn_leaves_nothing(command, tmp_path, monkeypatch):
    import plotly.io

    def fail(*args, **kwargs):
        raise RuntimeError("Kaleido requires Google Chrome.\nOr so.")

    monkeypatch.setattr(slides, "find_spec", lambda name: object())
    monkeypatch.setattr(plotly.io, "to_image", fail)
    with pytest.raises(OSError, match=r"--plot: out\.png cannot be drawn: Kaleido requires"):
        command(f"-n 64 -t 0.5 --plot {tmp_path / 'out.png'}")
    assert list(tmp_path.iterdir()) == []


def test_the_table_needs_neither_torch_nor_plotly():
    code = (
        "import sys; from jsonargparse import ArgumentParser; from ntxent.commands import bounds;"
        "p = ArgumentParser(); bounds.add_arguments(p);"
        "bounds.run(p.parse_args(['-n', '512', '-t', '0.5', '--dim', '128', '--loss', '5']));"
        "print({'torch', 'tensorboard', 'plotly', 'pandas'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines()[-1] == "set()"


def test_more_views_and_hard_negatives_change_the_limits_and_leave_out_the_theorems(command):
    four = json.loads(command("-n 64 -t 0.1 --views 4 --json"))
    assert four["floor"] == pytest.approx(math.log(3 + 4 * 63 * math.exp(-64 / 6.3)))
    assert (four["views"], four["theorems"]) == (4, [])
    hard = command("-n 64 -t 0.1 --variant info_nce --negatives 7")
    assert "chance    6.2383" in hard  # ln(64 * 8)
    with pytest.raises(ValueError, match="views=3: expected 2, as 'info_nce' has pairs"):
        command("-n 64 -t 0.1 --variant info_nce --views 3")
