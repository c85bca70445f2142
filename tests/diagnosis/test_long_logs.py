"""Logs of any length: read many lines at a time, in bounded memory, with a bar on a terminal."""

import random
import re
import sys

import numpy as np
import pytest

from log_texts import TEXTS
from ntxent.commands import _reading
from ntxent.logs import alike, pooled, read_log
from ntxent.logs.columns import Columns
from ntxent.logs.grammar import LineReader, read_line
from ntxent.logs.reading import _rows

FORMS = {
    "a name with a digit": "loss1 5.1 loss2 4.1 acc1 3.1",
    "names with digits in turn": "head-1 loss 5.1\nhead-2 loss 4.1",
    "a signed value": "step 5 loss -0.5 delta +0.5",
    "a bar": "Epoch 1:  50%|#####     | 50/100 [00:10<00:10, 5.00it/s, loss=5.1]",
    "json": '{"step": 5, "loss": 5.1, "lr": 0.1, "note": "12:05", "flag": true}',
    "json of two parts": '{"mode": "train", "step": 5, "loss": 5.1}\n'
    '{"mode": "val", "step": 5, "loss": 4.1}',
    "json of nested names": '{"train": {"loss": "5.1", "acc@1": 3.1}, "epoch": 1, "x": [1, 2]}',
    "a sparse table": "step,loss,val_loss\n5,5.1,\n6,5.2,4.1\n7,5.3,",
    "a value that is no number at times": "step 5 loss 5.1\nstep 6 loss nan\nstep 7 loss 5.1e+00",
}
CASES = {name: text for name, (text, *_) in TEXTS.items() if not text.lstrip().startswith("[")}
CASES |= FORMS


def varied(text, rng):
    """The same lines with other digits, of other widths."""

    def other(match):
        whole, point, rest = match[0].partition(".")
        if match[0].isdigit() and len(whole) > 4:
            return whole  # a time stamp
        return str(rng.randrange(10 ** rng.randint(1, 3))) + point + rest

    return re.sub(r"(?<![\w.@#-])\d+(?:\.\d+)?(?![\w.:-])", other, text)


def collected(path):
    columns = Columns(None)
    columns.collect(_rows(path, columns, events=False))
    return columns.series(), columns.skipped


@pytest.mark.parametrize("name", CASES)
def test_lines_read_together_give_what_each_gives_alone(name, tmp_path, monkeypatch):
    rng = random.Random(0)
    text = CASES[name].rstrip("\n")
    head, _, body = text.partition("\n") if "," in text.partition("\n")[0] else ("", "", text)
    keeps = bool(head) and "loss" in head.lower() and not re.search(r"\d", head)
    many = [varied(body if keeps else text, rng) for _ in range(600 // (text.count("\n") + 1))]
    path = tmp_path / "train.log"
    path.write_text("\n".join([head, *many] if keeps else many) + "\n", encoding="utf-8")
    monkeypatch.setattr(alike, "BLOCK", 50)
    together, skipped = collected(path)
    monkeypatch.setattr(alike, "TEMPLATES", 0)
    monkeypatch.setattr(alike, "_block_of_table", lambda *_: None)
    alone, as_many = collected(path)
    assert skipped == as_many
    assert set(together) == set(alone)
    for column, series in alone.items():
        np.testing.assert_array_equal(together[column].values, series.values)
        np.testing.assert_array_equal(together[column].steps, series.steps)


def test_most_lines_of_a_plain_log_are_read_together(tmp_path, monkeypatch):
    path = tmp_path / "train.log"
    path.write_text("".join(f"step {k} loss {5 - k / 1e4:.4f}\n" for k in range(20_000)))
    alone = []
    reads = LineReader.__call__
    monkeypatch.setattr(LineReader, "__call__", lambda s, t: alone.append(t) or reads(s, t))
    log = read_log(path)
    assert len(log.loss.values) == 20_000
    assert (log.loss.steps[-1], log.loss.values[-1]) == (19_999, pytest.approx(3.0001))
    assert len(alone) <= 4000


def test_a_bar_drawn_anew_at_the_same_step_counts_once(tmp_path):
    path = tmp_path / "train.log"
    bars = (f"{k:4d}/6000 [loss={5 - k / 1e4:.4f}]\r" * 2 for k in range(6000))
    path.write_text("".join(bars), encoding="utf-8")
    assert 6000 <= len(read_log(path).loss.values) < 6010


def test_names_that_differ_in_a_digit_are_not_one_column():
    read = LineReader(lambda name: True)
    for text in ("loss1 5.0 loss 1.0", "loss2 4.0 loss 2.0", "a-1 loss 3.0", "a-2 loss 4.0"):
        assert read(text) == read_line(text)


def test_a_column_beyond_the_limit_becomes_means_of_consecutive_values(tmp_path, monkeypatch):
    monkeypatch.setattr(pooled, "CHUNK", 16)
    monkeypatch.setattr(pooled, "MOST", 64)
    column = pooled.Column()
    values = np.random.default_rng(0).normal(size=1003)
    values[500] = np.nan
    for step, value in enumerate(values):
        column.steps.append(step)
        column.values.append(value)
        if len(column.values) >= pooled.CHUNK:
            column.pool()
        assert sum(len(series.values) for series in column._pooled) <= 64 + 16
    series = column.series()
    stride = column.stride
    assert stride == 16
    expected = [values[k : k + stride].mean() for k in range(0, 1003, stride)]
    np.testing.assert_allclose(series.values, expected)
    np.testing.assert_array_equal(series.steps, np.arange(0, 1003, stride))


def test_a_log_that_is_thinned_says_so(tmp_path, monkeypatch):
    from ntxent.logs import columns

    for module, name, size in (
        (pooled, "CHUNK", 64),
        (pooled, "MOST", 128),
        (columns, "CHUNK", 64),
    ):
        monkeypatch.setattr(module, name, size)
    path = tmp_path / "train.csv"
    path.write_text("step,loss\n" + "".join(f"{k},{5 - k / 1e3}\n" for k in range(1000)))
    log = read_log(path)
    assert len(log.loss.values) <= 192
    assert log.notes == (
        "Each value is the mean of 8 consecutive ones of the log, to save memory.",
    )
    assert log.loss.values[0] == pytest.approx(5 - 3.5 / 1e3)


@pytest.mark.parametrize(
    ("terminal", "patience", "drawn"), [(True, 0, 1), (True, 60, 0), (False, 0, 0)]
)
def test_a_bar_is_drawn_on_a_terminal_and_only_if_it_takes_long(
    terminal, patience, drawn, monkeypatch, capsys, tmp_path
):
    path = tmp_path / "train.csv"
    path.write_text("step,loss\n" + "".join(f"{k},{5 - k / 1e5}\n" for k in range(50_000)))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setattr(_reading, "PATIENCE", patience)
    for missing in (False, True):
        if missing:
            monkeypatch.setitem(sys.modules, "rich.progress", None)
        with _reading.reading() as progress:
            read_log(path, progress=progress)
        out, err = capsys.readouterr()
        assert out == ""
        assert ("reading" in err) == bool(drawn)
