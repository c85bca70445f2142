"""Logs of every format, broken in every way, and what their course says."""

import json
import math

import numpy as np
import pytest

from ntxent import bounds
from ntxent.logs import find_settings, read_log
from ntxent.trajectory import Series, judge

LOSSES = [6.9, 6.5, 6.0, 5.5, 5.2]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def table(columns, rows, delimiter=","):
    return "\n".join(delimiter.join(map(str, row)) for row in [columns, *rows]) + "\n"


def events(folder, scalars):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
    from tensorboard.util.tensor_util import make_tensor_proto

    writer = EventFileWriter(str(folder))
    for step, tag, value in scalars:
        fields = {"simple_value": value}
        if tag.startswith("tf2"):
            fields = {"tensor": make_tensor_proto(value, dtype=np.float32)}
        summary = Summary(value=[Summary.Value(tag=tag, **fields)])
        writer.add_event(Event(step=step, wall_time=0.0, summary=summary))
    writer.close()
    return folder


ROWS = [(step * 10, loss) for step, loss in enumerate(LOSSES)]
FORMATS = {
    "csv": lambda p: write(p / "a.csv", table(("step", "loss"), ROWS)),
    "tsv": lambda p: write(p / "a.tsv", table(("step", "loss"), ROWS, "\t")),
    "semicolon": lambda p: write(p / "a.csv", table(("step", "loss"), ROWS, ";")),
    "quoted": lambda p: write(p / "a.csv", table(('"step"', '"loss"'), ROWS)),
    "crlf with a byte order mark": lambda p: write(
        p / "a.csv", "\ufeff" + table(("step", "loss"), ROWS).replace("\n", "\r\n")
    ),
    "json lines": lambda p: write(
        p / "a.jsonl", "\n".join(json.dumps({"step": s, "loss": v}) for s, v in ROWS)
    ),
    "nested json lines": lambda p: write(
        p / "log.txt",
        "\n".join(json.dumps({"step": s, "train": {"loss": v}, "t": None}) for s, v in ROWS),
    ),
    "tensorboard": lambda p: events(p / "tb", [(s, "train/loss", v) for s, v in ROWS]),
    "tensorflow 2": lambda p: events(p / "tb", [(s, "tf2/loss", v) for s, v in ROWS]),
    "run folder": lambda p: write(p / "metrics.csv", table(("step", "loss"), ROWS)).parent,
    "lightning_logs": lambda p: write(
        p / "l" / "version_0" / "metrics.csv", table(("step", "loss"), ROWS)
    ).parents[2],
}


@pytest.mark.parametrize("name", FORMATS)
def test_formats(name, tmp_path):
    log = read_log(FORMATS[name](tmp_path))
    np.testing.assert_allclose(log.loss.values, LOSSES, rtol=1e-6)
    assert log.loss.steps.tolist() == [0, 10, 20, 30, 40]
    assert log.skipped == 0


def test_a_single_event_file_and_several_of_a_resumed_run(tmp_path):
    folder = events(tmp_path / "tb", [(0, "loss", 6.0)])
    (file,) = folder.iterdir()
    assert read_log(file).loss.values.tolist() == [6.0]
    other = events(tmp_path / "more", [(1, "loss", 5.0)])
    next(other.iterdir()).rename(folder / (file.name + ".1"))
    assert read_log(folder).loss.values.tolist() == [6.0, 5.0]


def test_sparse_rows_of_lightning(tmp_path):
    columns = ("epoch", "step", "train_loss_epoch", "train_loss_step", "val_loss")
    rows = [(0, 0, "", 6.9, ""), (0, 1, "", 6.5, ""), (0, 1, 6.7, "", ""), (0, 1, "", "", 7.0)]
    log = read_log(write(tmp_path / "metrics.csv", table(columns, rows)))
    assert log.column == "train_loss_step"
    assert log.loss.values.tolist() == [6.9, 6.5]
    assert log.others == ("train_loss_epoch", "val_loss")
    assert log.skipped == 0
    assert read_log(log.path, "val_loss").loss.values.tolist() == [7.0]


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (("val_loss", "loss"), "loss"),
        (("val/contrastive_loss", "train/loss"), "train/loss"),
        (("reg_loss", "NTXentLoss"), "NTXentLoss"),
        (("loss", "simclr_loss"), "simclr_loss"),
        (("test_loss", "val_loss"), "test_loss"),
    ],
)
def test_the_likeliest_column_is_taken_and_the_others_named(names, taken, tmp_path):
    log = read_log(write(tmp_path / "a.csv", table(names, [(1.0, 2.0)])))
    assert log.column == taken
    assert set(log.others) == set(names) - {taken}


def test_steps_are_epochs_or_rows_where_there_are_none(tmp_path):
    assert read_log(write(tmp_path / "a.csv", "loss\n6\n5\n")).loss.steps.tolist() == [0, 1]
    text = "epoch,loss\n3,6\n4,5\n"
    assert read_log(write(tmp_path / "b.csv", text)).loss.steps.tolist() == [3, 4]


def test_broken_rows_are_reported_with_their_lines_and_the_rest_is_used(tmp_path):
    text = 'step,loss\n0,6\n1\n2,abc\nx,5\nnan,5\n\n6,"5\n7,5.5\n8,nan\n9,4\ufffd\n10,5,5\n11,5'
    log = read_log(write(tmp_path / "a.csv", text))
    np.testing.assert_array_equal(log.loss.steps, [0, 6, 7, 8, 11])
    assert [p.partition(":")[0] for p in log.problems] == [
        f"line {n}" for n in (3, 4, 5, 6, 11, 12)
    ]
    assert log.problems[0] == "line 3: 1 cells, the header has 2"
    assert log.problems[1] == "line 4: loss = 'abc' is not a number"


def test_broken_json_lines(tmp_path):
    text = '{"loss": 6}\n{"loss": 5\n[1]\n{"loss": [5]}\n\n{"loss": NaN}\n{"loss": 5}'
    log = read_log(write(tmp_path / "a.jsonl", text))
    np.testing.assert_array_equal(log.loss.values, [6, math.nan, 5])
    assert [p.partition(":")[0] for p in log.problems] == ["line 2", "line 3", "line 4"]


def test_only_the_first_problems_are_kept(tmp_path):
    log = read_log(write(tmp_path / "a.csv", "loss\n5\n" + "x\n" * 1000))
    assert log.skipped == 1000
    assert len(log.problems) == 10


@pytest.mark.parametrize(
    ("content", "column", "message"),
    [
        (b"", None, "empty; expected a header"),
        (b"\x80\x04\x95\x00\x00pickle", None, "a binary file"),
        (b"step,accuracy\n1,2\n", None, "choose with --column from step, accuracy"),
        (b"step,loss\n1,2\n", "los", "no column 'los'; choose with --column from step, loss"),
        (b"step,loss\n", None, "no number in the loss column"),
        (b"step,loss\n1,abc\n", None, "line 2: loss = 'abc' is not a number"),
        (b"{broken\n", None, "no scalar in it; unreadable: line 1: not JSON"),
    ],
)
def test_files_that_are_no_logs(content, column, message, tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.csv: ") as refusal:
        read_log(path, column)
    assert message in str(refusal.value)


def test_paths_that_are_no_logs(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        read_log(tmp_path / "none")
    with pytest.raises(ValueError, match="holds no log; expected"):
        read_log(tmp_path)
    for version in ("version_0", "version_1"):
        write(tmp_path / version / "metrics.csv", "loss\n5\n")
    with pytest.raises(ValueError, match="holds 2 logs; name one of them: version_0"):
        read_log(tmp_path)
    (tmp_path / "events.out.tfevents.1").write_bytes(b"not events at all")
    with pytest.raises(ValueError, match="no scalar in it"):
        read_log(tmp_path)


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("config.yaml", "batch_size: 256\ntemperature: 0.5\n", (256, 0.5, None)),
        ("config.yaml", "model: {projection_dim: 64}\nloss: {tau: 1e-1}\n", (None, 0.1, 64)),
        ("hparams.yaml", "batch_size: 8\nnet: !!python/object:a.B {x: 1}\n", (8, None, None)),
        ("config.yaml", "batch_size: {value: 64, desc: null}\n", (64, None, None)),
        ("args.json", '{"temperature": 0.07, "batch_size": 128}', (128, 0.07, None)),
        ("config.yaml", "batch_size: 8\nprobe: {batch_size: 99}\n", (8, None, None)),
        ("config.yaml", "", (None, None, None)),
    ],
)
def test_settings_are_found_at_any_depth(name, text, expected, tmp_path):
    write(tmp_path / name, text)
    log = write(tmp_path / "logs" / "a.csv", "loss\n5\n")
    found = find_settings(log).found
    assert tuple(map(found.get, ("batch_size", "temperature", "dim"))) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: {batch_size: 8}\nb: {batch_size: 9}\n", r"a\.batch_size = 8, b\.batch_size = 9\?"),
        ("temperature: warm\n", "temperature is 'warm', expected a number; give it with -t"),
        ("a: [1\n", "cannot be read as YAML"),
    ],
)
def test_unusable_settings_name_the_flag(text, message, tmp_path):
    write(tmp_path / "config.yaml", text)
    with pytest.raises(ValueError, match=message):
        find_settings(tmp_path)


# --- trajectories ---------------------------------------------------------------------------------

N, TAU = 512, 0.5
FLOOR, CHANCE = bounds.floor(N, TAU), bounds.chance(N)


def run(position, **options):
    position = np.asarray(position, dtype=float)
    losses = FLOOR + position * (CHANCE - FLOOR)
    return judge(Series(np.arange(len(losses)) * 10.0, losses), N, TAU, **options)


def test_a_healthy_run():
    rng = np.random.default_rng(0)
    course = 0.05 + np.exp(-np.arange(2000) / 300) + 0.005 * rng.standard_normal(2000)
    report = run(course, dim=128)
    # 0.05 + exp(−k/300) = 0.98 at k = 22.
    assert report.left_chance == pytest.approx(220, abs=150)
    assert report.chance_since is report.jump is None
    assert report.end.verdict == "at_floor"
    assert "random embeddings in d = 128" in report.sentences[0]


def test_left_chance_is_exact_for_short_runs():
    assert run([1.01, 0.97, 0.99, 0.97, 0.9]).left_chance == 30
    assert run([0.5, 0.4]).left_chance == 0
    assert run([0.9, 1.0]).left_chance is None


def test_a_run_at_chance_says_since_when():
    report = run([1.05, 0.9, *[1.0] * 50])
    assert report.chance_since == 20
    assert report.end.verdict == "at_chance"
    assert "It is at chance since step 20." in report.sentences


def test_measured_similarities_of_the_end_tell_collapse():
    steps = np.arange(100.0)
    similarity = Series(steps, np.linspace(0, 0.99, 100))
    report = run(np.ones(10), negative_similarity=similarity)
    assert report.end.verdict == "collapsed"
    assert report.end.negative_similarity > 0.9


def test_plateau_jump_and_trend():
    report = run([*np.linspace(1, 0.5, 100), *[0.5] * 100, *np.linspace(0.9, 0.6, 100)])
    assert report.jump == pytest.approx((2000, 0.4), rel=0.1)
    plateau = max(report.plateaus, key=lambda stretch: stretch.last_step - stretch.first_step)
    assert plateau.position == pytest.approx(0.5, abs=0.02)
    assert 900 <= plateau.first_step <= 1050
    assert 1900 <= plateau.last_step <= 2010
    assert report.trend == pytest.approx(-0.3 * 75 / 99, rel=0.05)
    words = " ".join(report.sentences)
    assert "jumps up by" in words
    assert "A plateau at position" in words
    assert "falls by" in words


def test_trend_shrugs_off_spikes():
    course = np.full(200, 0.5)
    course[160::7] = 5
    assert run(course).trend == pytest.approx(0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nonfinite_losses(bad):
    course = np.linspace(1, 0.5, 100)
    course[60:62] = bad
    report = run(course)
    assert (report.nonfinite, report.first_nonfinite, report.ends_nonfinite) == (2, 600, False)
    course[90:] = bad
    report = run(course)
    assert report.ends_nonfinite
    assert "the first at step 600, and the run ends so" in report.sentences[0]
    assert report.end.position == pytest.approx(0.55, abs=0.03)


@pytest.mark.parametrize("values", [[], [math.nan, math.inf]])
def test_nothing_finite_is_refused(values):
    with pytest.raises(ValueError, match="expected at least one finite value"):
        judge(Series(np.arange(len(values)), np.array(values)), N, TAU)


def test_one_value_and_one_pair_are_enough():
    assert run([0.5]).end.verdict == "learning"
    report = judge(Series(np.arange(3), np.zeros(3)), 1, TAU)
    assert report.end.verdict == "degenerate"
    assert report.left_chance is report.trend is None


def test_json_is_strict():
    course = np.linspace(1, 0.5, 100)
    course[3] = math.nan
    report = run(course).to_dict()
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["verdict"] == "learning"
    assert report["trajectory"]["first_nonfinite"] == 30
