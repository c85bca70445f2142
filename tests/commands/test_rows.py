"""Tables at terminals of any width: nothing in them is cut."""

import json
from io import StringIO

import pytest
from rich.console import Console

from ntxent.cli import main
from ntxent.commands._rows import fits, show_table
from ntxent.commands._tables import show_accuracies

HEADER = ("probe", "raw pixels", "untrained encoder", "trained encoder", "95 % interval")
ROWS = [
    (f"linear, {labels} labels/class", "71.57 ± 1.21", "55.1 ± 1.0", "80.4 ± 0.9", "79.9 to 80.9")
    for labels in ("1", "5", "10")
]


def shown(rows, width, **options):
    text = StringIO()
    show_table(Console(file=text, width=width, color_system=None), rows, **options)
    return text.getvalue()


def words(rows):
    return {word for row in rows for cell in row for word in cell.split()}


def assert_whole(text, width):
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("width", [40, 60, 70, 80, 100, 200])
def test_every_word_and_number_of_a_table_is_shown(width):
    text = shown(ROWS, width, header=HEADER, title="Accuracy", right=(1, 2, 3, 4))
    assert_whole(text, width)
    assert words([HEADER[1:], *ROWS]) <= set(text.split())
    for row in ROWS:
        assert all(number in text for number in row[1:])  # on one line each


@pytest.mark.parametrize("width", [20, 60])
def test_a_word_that_is_longer_than_the_line_is_folded(width):
    path = "/data/" + "x" * 100
    text = shown([("source", path), ("images", "3")], width)
    assert_whole(text, width)
    assert "".join(text.split()).count("x") == 100


def test_brackets_are_text():
    assert "[red]" in shown([("[red]", "1")], 80)


def test_a_matrix_fits_or_not():
    rows = [("automobile", *["10"] * 10)]
    header = ("", *["automobile"] * 10)
    console = Console(file=StringIO(), width=80)
    assert not fits(console, rows, header)
    assert fits(console, rows, ("", *"abcdefghij"))


@pytest.mark.parametrize("columns", ["60", "80"])
@pytest.mark.parametrize(
    "argv",
    [
        "engines",
        "presets",
        "bounds -n 64,65536 -t 0.005,0.5 --dim 128 --loss 3",
        "bounds -n 64 -t 0.5",
        "diagnose --loss 6.92 -n 512 -t 0.07 --dim 128",
    ],
)
def test_no_command_prints_a_line_that_is_too_long(capsys, monkeypatch, columns, argv):
    monkeypatch.setenv("COLUMNS", columns)
    assert main(argv.split()) == 0
    assert_whole(capsys.readouterr().out, int(columns))


def test_reasons_and_sources_are_whole_in_a_narrow_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    for command, key in (("engines", "reason"), ("presets", "source")):
        assert main([command, "--json"]) == 0
        listed = json.loads(capsys.readouterr().out)
        entries = listed if command == "engines" else listed["simclr-cifar10"]["values"].values()
        assert main([command]) == 0
        text = set(capsys.readouterr().out.split())
        for entry in entries:
            short = {word for word in entry[key].split() if len(word) < 20}
            assert short <= text


def test_accuracies_of_seventy_columns_are_whole_at_sixty():
    score = {"mean": 0.8042, "sd": 0.0121, "low": 0.7991, "high": 0.8093}
    scores = {"linear_10": score, "linear_all": score, "knn": score}
    evaluation = dict.fromkeys(("raw_pixels", "untrained_encoder", "encoder"), scores)
    text = StringIO()
    console = Console(file=text, width=60, color_system=None)
    show_accuracies(console, evaluation, intervals=True)
    assert_whole(text.getvalue(), 60)
    assert text.getvalue().count("80.4 ± 1.2") == 9
    assert text.getvalue().count("79.9 to 80.9") == 3
