"""``ntxent report`` without a browser: what a page says, and what it makes of bad input."""

import base64
import json
import re
import shutil
import struct
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest

from ntxent import bounds
from ntxent.cli import main
from ntxent.commands._diagnosis import STYLES
from ntxent.diagnosis.verdict import TONES, Verdict
from ntxent.report import slides, write_report
from ntxent.report.figures import figures, images
from ntxent.report.figures.images import neighbours, principal_plane
from ntxent.report.figures.pieces import thin
from ntxent.report.html.images import data_uri, sprite
from ntxent.report.html.page import ASSETS
from ntxent.report.html.palette import PALETTES, resolve
from ntxent.report.run import read_run
from ntxent.report.words import HEADLINES, certified_share
from ntxent.trajectory import Series
from runs import losses, make_run, write_metrics

EVIL = "<img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """Elements, the words that a reader sees, and the data of a page."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.words, self.within = [], [], []
        self.data = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.figures = json.loads(self.data)["figures"]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.within.append(dict(attrs).get("id", tag))

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self.within.pop()

    def handle_data(self, data):
        if not self.within:
            self.words.append(data)
        elif self.within[-1] == "page-data":
            self.data += data


def report(*argv):
    """The page that a command line writes beside the first run or to -o."""
    assert main(["report", *map(str, argv)]) == 0
    named = [str(argument) for argument in argv]

    if "-o" in named:
        return Page(Path(named[named.index("-o") + 1]))
    return Page(Path(named[0]) / "report.html")


# --- a whole run ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "whole", name="whole")


def test_a_finished_run_has_every_part(run):
    page = report(run)
    for words in (
        *(
            "whole",
            "Learning",
            "of the way down from chance",
            "What to do next",
            "Judge the encoder",
        ),
        *("positive cosine", "held-out accuracy", "raw pixels", "untrained encoder", "90.0"),
        *("Nearest neighbours", "Views that the model saw", "ntxent train --name 'whole'"),
        *("model. projection_dim", "Theorem 8", "inside the proven interval at 120 of 120 steps"),
    ):
        assert words in page.text, words
    assert set(page.figures) == {
        *("loss", "position", "positive", "accuracy", "gradient", "plane", "rank"),
        *("similarities", "evaluation", "map", "rate"),
    }
    assert all(figure["alt"] for figure in page.figures.values())


def test_every_named_theorem_stands_on_the_page(run):
    page = report(run)
    ids = {attributes.get("id") for _, attributes in page.tags}
    links = {a["href"] for tag, a in page.tags if tag == "a" and "href" in a}
    assert {"#theorem-6", "#theorem-8", "#theorem-10"} <= links
    assert {link.removeprefix("#") for link in links} <= ids


def test_the_page_fetches_nothing_and_allows_nothing(run):
    page = report(run)
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "action"):
            assert re.match(r"(#|data:image/png;base64,)", attributes.get(name, "#"))
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy.partition("style-src")[0]
    assert (run / "report.html").stat().st_size < 2_500_000


def test_curves_hold_the_numbers_of_the_bounds(run):
    made = figures(read_run(run))
    loss = losses(120, 256, 0.5, 64)
    low, high = bounds.similarity_interval(loss, 256, 0.5)
    drawn = made["positive"]["data"]
    np.testing.assert_allclose(drawn[0]["y"], low, rtol=1e-5)
    np.testing.assert_allclose(drawn[1]["y"], high, rtol=1e-5)
    np.testing.assert_allclose(drawn[2]["y"], (low + high) / 2, rtol=1e-5)
    np.testing.assert_allclose(made["loss"]["data"][0]["y"], loss, rtol=1e-5)
    np.testing.assert_allclose(
        made["position"]["data"][0]["y"], bounds.position(loss, 256, 0.5, 64), rtol=1e-4
    )
    np.testing.assert_allclose(
        made["gradient"]["data"][0]["y"], bounds.gradient_bound(loss, 0.5), rtol=1e-5
    )
    levels = [shape["y0"] for shape in made["loss"]["layout"]["shapes"]]
    floor, chance = bounds.floor(256, 0.5, 64), bounds.chance(256)
    assert levels == [floor, floor, chance, bounds.ceiling(256, 0.5)]


def test_axes_are_steps_epochs_and_seconds(run):
    (grid,) = figures(read_run(run))["position"]["grids"]
    assert grid["step"] == list(range(120))
    np.testing.assert_allclose(grid["epoch"], np.arange(120) / 10)
    np.testing.assert_allclose(grid["time"], np.arange(120) / 2)


def test_a_measured_line_outside_its_interval_is_counted(tmp_path):
    folder = make_run(tmp_path / "run")
    lines = (folder / "metrics.csv").read_text().splitlines()
    cells = lines[61].split(",")
    cells[3] = "-0.9"
    (folder / "metrics.csv").write_text("\n".join([*lines[:61], ",".join(cells), *lines[62:]]))
    assert certified_share(read_run(folder)) == (119, 120)


def test_json_says_what_the_page_says(run, capsys):
    assert main(["report", str(run), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["report"] == str(run / "report.html")
    (one,) = said["runs"]
    assert (one["name"], one["state"], one["headline"]) == ("whole", "finished", "Learning")
    assert one["diagnosis"]["position"] == pytest.approx(0.2, abs=0.02)
    assert one["evaluation"]["encoder"]["linear_all"]["mean"] == 0.9


# --- bad input ------------------------------------------------------------------------------------


def test_a_run_in_progress_is_marked(tmp_path):
    page = report(make_run(tmp_path / "run", finished=False))
    assert "in progress" in page.text
    assert "it is in progress or was interrupted" in page.text
    assert "shows what it has logged up to step 119" in page.text
    assert "loss" in page.figures
    assert "evaluation" not in page.figures


def test_a_line_that_is_still_being_written_is_left_out(tmp_path):
    folder = make_run(tmp_path / "run", finished=False)
    for name in ("metrics.csv", "report/measures.csv"):
        text = (folder / name).read_text()
        (folder / name).write_text(text[:-25])
    page = report(folder)
    assert "up to step 118" in page.text
    assert "1 rows or cells could not be read" in page.text


@pytest.mark.parametrize("content", [None, "", "step,epoch,loss\n"])
def test_no_metrics_yet_is_a_page_that_says_so(tmp_path, content):
    folder = make_run(tmp_path / "run", finished=False)
    (folder / "metrics.csv").unlink()
    if content is not None:
        (folder / "metrics.csv").write_text(content)
    page = report(folder)
    assert "No step logged yet" in page.text
    assert "Make this report again" in page.text
    assert "loss" not in page.figures


def test_nan_is_shown_where_it_is(tmp_path):
    loss = losses(120, 256, 0.5, 64)
    loss[[50, 51, 90]] = np.nan, np.inf, -np.inf
    page = report(make_run(tmp_path / "run", loss=loss))
    assert "3 of 120 losses are NaN or infinite, the first at step 50" in page.text
    curve, marks = page.figures["loss"]["data"]
    assert [k for k, y in enumerate(curve["y"]) if y is None] == [50, 51, 90]
    assert marks["name"] == "NaN or infinite (3)"
    assert page.figures["loss"]["grids"][1]["step"] == [50, 51, 90]


def test_a_run_that_ends_in_nan_leads_with_that(tmp_path):
    loss = losses(120, 256, 0.5, 64)
    loss[100:] = np.nan
    page = report(make_run(tmp_path / "run", loss=loss))
    assert "The loss became NaN or infinite" in page.text


def test_nothing_but_nan_is_a_page(tmp_path):
    page = report(make_run(tmp_path / "run", loss=np.full(5, np.nan)))
    assert "No loss can be judged" in page.text
    assert "all 5 are NaN or infinite" in page.text


def test_one_step_is_a_page(tmp_path):
    page = report(make_run(tmp_path / "run", loss=np.array([6.0])))
    assert page.figures["loss"]["data"][0]["y"] == [6.0]
    assert "steps 1" in page.text


@pytest.mark.parametrize("loss", [[12.0, 11.0], [-3.0, -2.0]])
def test_a_loss_outside_its_limits_is_told(tmp_path, loss):
    page = report(make_run(tmp_path / "run", loss=np.array(loss)))
    assert "Not possible as stated" in page.text or "No loss can be judged" in page.text


def test_a_foreign_log_is_measured_by_what_the_user_says(tmp_path, capsys):
    log = tmp_path / "log.csv"
    log.write_text('"train_loss";epoch\n' + "".join(f"{6 - k / 10};{k}\n" for k in range(8)))
    out = tmp_path / "page.html"
    page = report(log, "-n", 256, "-t", 0.5, "-o", out)
    assert "log of another tool" in page.text
    assert set(page.figures) == {"loss", "position", "positive", "gradient"}
    assert main(["report", str(log), "-o", str(tmp_path / "other.html")]) == 2
    err = capsys.readouterr().err
    assert "batch size: not given and not found" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "other.html").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["empty"], "empty: holds no log"),
        (["words.csv", "-n", "8", "-t", "1"], "no column is named like a loss"),
        (["run", "-t", "-1"], "temperature"),
        (["run", "--variant", "nonsense"], "variant"),
        (["run", "--map", "nonsense"], "--map: received 'nonsense', expected one of pca, umap"),
        (["run", "-o", "nowhere/page.html"], "no folder nowhere; make it first"),
        ([], "runs"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_page(tmp_path, monkeypatch, capsys, argv, message):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    (tmp_path / "words.csv").write_text("a,b,c\n1,2,3\n")
    assert main(["report", *argv]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not list(tmp_path.rglob("*.html"))
    assert not list(tmp_path.rglob("*.partial"))


def test_broken_files_of_a_run_are_named_and_left_out(tmp_path):
    folder = make_run(tmp_path / "run")
    (folder / "data.json").write_text("{broken")
    for name in ("samples.npz", "views.npz", "similarities.json"):
        (folder / "report" / name).write_text("{broken")
    page = report(folder)
    for name in ("samples.npz", "views.npz", "similarities.json", "data.json"):
        assert f"{name} cannot be read" in page.text
    assert "loss" in page.figures
    assert "map" not in page.figures


def test_what_users_write_stays_text(tmp_path):
    classes = (EVIL, "\"quoted\" 'twice'", "</script><script>alert(2)</script>")
    page = report(make_run(tmp_path / "run", name=EVIL, classes=classes))
    assert not [tag for tag, attributes in page.tags if "onerror" in attributes]
    assert [a.get("id") for tag, a in page.tags if tag == "script"] == ["page-data", "plotly", None]
    assert EVIL in page.text
    assert classes[1] in page.text
    assert page.figures["map"]["data"][0]["name"] == "&lt;img src=x onerror=alert(1)&gt;"
    alternatives = {a["alt"] for tag, a in page.tags if tag == "img"}
    assert set(classes) <= alternatives


# --- a million steps ------------------------------------------------------------------------------


def test_a_million_steps_are_thinned_and_nothing_is_hidden(tmp_path):
    loss = losses(1_000_000, 256, 0.5, 64)
    loss[123_456] = 9.0  # one step of a thousand in its bin
    rows = "\n".join(f"{step},{value:.6f}" for step, value in enumerate(loss))
    (tmp_path / "log.csv").write_text(f"step,loss\n{rows}\n")
    out = tmp_path / "page.html"
    page = report(tmp_path / "log.csv", "-n", 256, "-t", 0.5, "--dim", 64, "-o", out)
    assert "1,000,000 logged steps are drawn as 1,000 bins of 1,000" in page.text
    low, high, mean = page.figures["loss"]["data"]
    assert max(high["y"]) == 9.0
    assert max(mean["y"]) < 7
    assert len(mean["y"]) == 1000
    assert low["y"][123] < mean["y"][123] < high["y"][123]
    assert out.stat().st_size < 2_500_000


@pytest.mark.parametrize("count", [1, 7, 1000, 1001, 2500])
def test_bins_hold_every_value(count):
    values = np.random.default_rng(count).standard_normal(count)
    values[:: max(2, count // 3)] = np.nan
    thinned = thin(Series(np.arange(count), values), points=10)
    assert len(thinned.mean) <= 10
    finite = values[np.isfinite(values)]
    if finite.size:
        assert np.nanmax(thinned.high) == finite.max()
        assert np.nanmin(thinned.low) == finite.min()
    known = np.isfinite(thinned.mean)
    slack = 1e-12
    assert (thinned.low[known] <= thinned.mean[known] + slack).all()
    assert (thinned.mean[known] <= thinned.high[known] + slack).all()


# --- several runs ---------------------------------------------------------------------------------


def test_runs_of_one_convention_share_the_axis_of_the_loss(tmp_path):
    better = losses(80, 256, 0.5, 64, end=0.1)
    one = make_run(tmp_path / "one", name="first & last", accuracy=0.8)
    two = make_run(tmp_path / "two", name="second", loss=better, accuracy=0.7)
    page = report(one, two, "-o", tmp_path / "page.html")
    assert set(page.figures) == {"loss", "position", "positive", "evaluation"}
    assert [trace["name"] for trace in page.figures["loss"]["data"]] == [
        "first &amp; last",
        "second",
    ]
    table = page.text.partition("By accuracy and by position")[2]
    assert table.index("first & last") < table.index("second")  # the worse position, and better
    assert "No common axis" not in page.text
    assert "Options that differ" not in page.text


def test_runs_without_a_shared_probe_are_in_the_order_of_their_position(tmp_path):
    better = losses(80, 256, 0.5, 64, end=0.1)
    one = make_run(tmp_path / "one", name="higher", finished=False)
    two = make_run(tmp_path / "two", name="lower", loss=better, finished=False)
    report(one, two, "-o", tmp_path / "page.html")
    table = (tmp_path / "page.html").read_text().partition("By accuracy and by position")[2]
    assert table.index(">two <") < table.index(">one <")
    assert 'aria-sort="ascending"><button type="button">position' in table


@pytest.mark.parametrize("other", [{"size": 128}, {"temperature": 0.1}, {"dim": 8}])
def test_runs_of_different_limits_share_no_axis_of_the_loss(tmp_path, other):
    one = make_run(tmp_path / "one", name="one")
    two = make_run(tmp_path / "two", name="two", **other)
    page = report(one, two, "-o", tmp_path / "page.html")
    assert "loss" not in page.figures
    assert len(page.figures["position"]["data"]) == 2
    assert "a common axis would compare what cannot be compared" in page.text
    assert "Options that differ" in page.text


def test_a_run_without_steps_stands_beside_others(tmp_path):
    one = make_run(tmp_path / "one", name="one")
    two = make_run(tmp_path / "two", name="two", finished=False)
    (two / "metrics.csv").unlink()
    page = report(two, one, "-o", tmp_path / "page.html")
    assert "No step has been logged yet" in page.text
    assert len(page.figures["loss"]["data"]) == 1


def test_a_run_has_one_colour_in_all_figures_of_several(tmp_path):
    waiting = make_run(tmp_path / "waiting", finished=False)
    (waiting / "metrics.csv").unlink()
    folders = [waiting, *(make_run(tmp_path / name, name=name) for name in ("one", "two"))]
    made = figures(*map(read_run, folders))
    colours = {}
    for figure in made.values():
        for trace in figure["data"]:
            drawn = trace["line"] if trace["type"] == "scatter" else trace["marker"]
            colours.setdefault(trace["name"], set()).add(drawn["color"])
    assert colours == {"one": {"@orange"}, "two": {"@green"}}


def test_the_ninth_run_has_another_dash(tmp_path):
    runs = [read_run(make_run(tmp_path / str(k), name=f"run {k}")) for k in range(9)]
    lines = [trace["line"] for trace in figures(*runs)["loss"]["data"]]
    assert lines[8]["color"] == lines[0]["color"]
    assert (lines[0]["dash"], lines[8]["dash"]) == ("solid", "dash")
    assert len({(line["color"], line["dash"]) for line in lines}) == 9


def test_several_runs_show_their_band_and_where_a_loss_is_nan(tmp_path):
    loss = losses(120, 256, 0.5, 64)
    loss[50] = np.nan
    long = losses(2500, 256, 0.5, 64)
    runs = [
        read_run(make_run(tmp_path / name, name=name, loss=values))
        for name, values in (("broken", loss), ("long", long))
    ]
    made = figures(*runs)["loss"]
    broken, thinned, marks = made["data"]
    assert broken["y"][50] is None
    assert len(thinned["y"]) == 834
    assert marks["name"] == "broken: NaN or infinite (1)"
    assert made["grids"][marks["grid"]]["step"] == [50]
    levels = [shape["y0"] for shape in made["layout"]["shapes"]]
    floor, chance = bounds.floor(256, 0.5, 64), bounds.chance(256)
    assert levels == [floor, floor, chance]
    assert made["note"] == "long: 2,500 logged steps are drawn as the means of 834 bins of 3."


# --- pieces ---------------------------------------------------------------------------------------


def png_pixels(uri):
    from io import BytesIO

    from PIL import Image

    return np.asarray(Image.open(BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_a_data_uri_is_a_png_of_the_same_pixels():
    for channels in (1, 3):
        pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels)).astype(np.uint8)
        uri = data_uri(pixels)
        assert uri.startswith("data:image/png;base64,")
        read = png_pixels(uri).reshape(pixels.shape)
        assert np.array_equal(read, pixels)


def test_a_sprite_keeps_to_its_budget_and_its_order():
    images = np.random.default_rng(0).integers(0, 256, (100, 8, 8, 3)).astype(np.uint8)
    sheet = sprite(images, budget=8_000)
    assert len(sheet["uri"]) <= 8_000
    assert 5 < sheet["count"] < 100
    pixels = png_pixels(sheet["uri"])
    k = sheet["count"] - 1
    row, column = divmod(k, sheet["columns"])
    cut = pixels[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
    assert np.array_equal(cut, images[k])


def test_nearest_neighbours_are_the_nearest():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 4)).astype(np.float32)
    samples = {
        "features": features,
        "labels": np.arange(40) % 2,
        "thumbnails": rng.integers(0, 256, (40, 2, 2, 1)).astype(np.uint8),
        "classes": np.array(["even", "odd"]),
    }
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosines = unit @ unit.T - 2 * np.eye(40)
    for query, found in zip((0, 1), neighbours(samples), strict=True):
        order = np.argsort(-cosines[query])[:6]
        assert [n.uri for n in found.found] == [data_uri(samples["thumbnails"][k]) for k in order]
        assert [n.same for n in found.found] == [bool(k % 2 == query) for k in order]
        assert [n.cosine for n in found.found] == pytest.approx(cosines[query][order], abs=1e-6)


def test_the_map_is_the_plane_of_most_variance():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 6)) * [5, 3, 1, 0.1, 0.1, 0.1] + 20
    flat, (first, second) = principal_plane(features)
    variance = np.sort(np.linalg.eigvalsh(np.cov(features.T)))[::-1]
    np.testing.assert_allclose(flat.var(0, ddof=1), variance[:2], rtol=1e-9)
    np.testing.assert_allclose([first, second], variance[:2] / variance.sum(), rtol=1e-9)
    np.testing.assert_array_equal(principal_plane(features[:, :1])[0][:, 1], 0)


def test_umap_lays_out_directions_where_it_is_installed(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "umap", None)
    monkeypatch.setattr(images, "find_spec", lambda name: None)
    out = tmp_path / "page.html"
    assert main(["report", str(run), "--map", "umap", "-o", str(out)]) == 2
    assert "pip install umap-learn" in capsys.readouterr().err

    class UMAP:
        def __init__(self, n_neighbors, metric, random_state):
            assert (n_neighbors, metric, random_state) == (15, "cosine", 0)

        def fit_transform(self, unit):
            np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-6)
            return unit[:, :2].astype(np.float32)

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=UMAP))
    monkeypatch.setattr(images, "find_spec", lambda name: True)
    page = report(run, "--map", "umap", "-o", out)
    drawn = page.figures["map"]
    assert drawn["layout"]["xaxis"]["title"]["text"] == "UMAP, first axis"
    assert sum(len(trace["x"]) for trace in drawn["data"]) == 60


def luminance(colour):
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", PALETTES)
def test_every_colour_of_text_and_line_keeps_its_contrast(theme):
    palette = PALETTES[theme]
    for ground in ("ground", "page"):
        for name in set(palette) - {"ground", "page", "line"}:
            least = 4.5 if name in ("ink", "muted", "blue", "green", "amber", "orange") else 3
            one, two = sorted(luminance(palette[key]) for key in (name, ground))
            assert (two + 0.05) / (one + 0.05) >= least, (name, ground)


def test_every_named_colour_exists(run):
    for theme in PALETTES:
        resolve(figures(read_run(run)), theme)


def test_every_verdict_has_its_headline_and_its_colours():
    verdicts = set(get_args(Verdict))
    assert set(HEADLINES) == set(TONES) == set(STYLES) == verdicts
    css = (ASSETS / "page.css").read_text("utf-8")
    assert all(f".{tone} {{ --tone" in css for tone in TONES.values())


# --- PNG ------------------------------------------------------------------------------------------


def test_png_without_kaleido_says_what_to_install(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(slides, "find_spec", lambda name: None)
    assert main(["report", str(run), "--png", str(tmp_path)]) == 2
    assert "pip install kaleido" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_report_needs_no_torch(run):
    import subprocess

    code = (
        "import sys; from ntxent.cli import main; main(['report', sys.argv[1]]);"
        "print({'torch', 'lightning', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(run)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "set()"


def test_the_page_of_a_log_by_diagnose(tmp_path, capsys):
    write_metrics(tmp_path / "metrics.csv", losses(50, 256, 0.5, 64), 256, 0.5)
    out = tmp_path / "page.html"
    argv = ["diagnose", str(tmp_path / "metrics.csv"), "-n", "256", "-t", "0.5", "--report"]
    assert main([*argv, str(out)]) == 0
    assert f"Report: {out}" in capsys.readouterr().out
    assert "Learning" in Page(out).text
    assert main(["diagnose", "--loss", "5", "-n", "256", "-t", "0.5", "--report"]) == 2
    assert "--report: it is the page of a log" in capsys.readouterr().err


def test_the_page_of_two_files_by_analyze(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    z = rng.normal(size=(64, 8))
    np.save("one.npy", z)
    np.save("two.npy", z + 0.3 * rng.normal(size=z.shape))
    assert main(["analyze", "one.npy", "two.npy", "--json", "--report"]) == 0
    measured = json.loads(capsys.readouterr().out)
    page = Page(tmp_path / "report.html")
    for name in ("loss", "alignment", "positive_similarity", "contrastive_accuracy"):
        assert f"{measured[name]:.4f}" in page.text
    assert "{:.4f} to {:.4f}".format(*measured["similarity_interval"]) in page.text


def test_write_report_returns_the_figures(run, tmp_path):
    made = write_report([run], tmp_path / "page.html")
    assert made["figures"]["loss"]["data"][0]["name"] == "loss"


@pytest.mark.skipif(
    shutil.which("chromium") is None or find_spec("kaleido") is None,
    reason="needs kaleido, and chromium for it to draw in",
)
def test_png_files_are_drawn_for_slides(run, tmp_path, monkeypatch):
    monkeypatch.setenv("BROWSER_PATH", shutil.which("chromium"))
    made = figures(read_run(run))
    chosen = {name: made[name] for name in ("loss", "similarities")}
    for file in map(Path, slides.write_slides(chosen, tmp_path / "slides")):
        image = file.read_bytes()
        assert image.startswith(b"\x89PNG")
        assert struct.unpack(">II", image[16:24]) == (2560, 1440)
        assert len(image) > 20_000  # not an empty canvas
