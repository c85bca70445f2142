"""``ntxent analyze`` as its user meets it: all formats, all mistakes, tables and figures."""

import json
import shlex
import subprocess
import sys

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser

from embeddings import views
from ntxent.commands import analyze
from ntxent.reference import dense_nt_xent_loss
from ntxent.report import slides


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


@pytest.fixture
def command(folder, capsys):
    def run(line):
        parser = ArgumentParser(exit_on_error=False)
        analyze.add_arguments(parser)
        assert analyze.run(parser.parse_args(shlex.split(line))) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out

    return run


Z1, Z2 = views("clustered", 300, 8)


def save_npy(name, z):
    np.save(f"{name}.npy", z.numpy())
    return f"{name}.npy"


def test_the_loss_is_that_of_the_dense_definition(command):
    found = json.loads(command(f"{save_npy('one', Z1)} {save_npy('two', Z2)} -t 0.1 --json"))
    assert found["loss"] == pytest.approx(dense_nt_xent_loss(Z1, Z2, 0.1).item(), rel=1e-6)
    assert (found["batch_size"], found["dim"]) == (300, 8)
    assert found["unpaired"] == [0, 0]


def save_named(name, z, files):
    np.savez(f"{name}.npz", embeddings=z.numpy(), files=np.array(files), labels=np.zeros(len(z)))
    return f"{name}.npz"


def test_rows_of_one_name_are_pairs_and_the_others_are_counted(command, folder):
    names = [f"{k}.png" for k in range(300)]
    order = torch.randperm(290, generator=torch.Generator().manual_seed(0))
    one = save_named("one", Z1, names)
    two = save_named("two", Z2[order], [names[k] for k in order])
    found = json.loads(command(f"{one} {two} -t 0.1 --json"))
    expected = dense_nt_xent_loss(Z1[:290], Z2[:290], 0.1).item()
    assert found["loss"] == pytest.approx(expected, rel=1e-6)
    assert found["unpaired"] == [10, 0]
    said = "10 rows of one.npz have no partner of the same name and are left out."
    assert said in command(f"{one} {two} --report page.html")
    assert said in (folder / "page.html").read_text()


def test_an_error_says_that_its_row_is_one_of_the_pairs(command, folder):
    z = torch.eye(3)
    save_named("one", z, ["a", "b", "c"])
    z[2] = 0
    save_named("two", z, ["b", "a", "c"])
    save_named("same", z, ["a", "b", "c"])
    with pytest.raises(ValueError, match=r"two\.npz, rows paired by name: row 2 has zero norm"):
        command("one.npz two.npz")
    with pytest.raises(ValueError, match=r"same\.npz: row 2 has zero norm"):
        command("one.npz same.npz")


@pytest.mark.slow
def test_several_processes_share_the_work_and_give_the_same_answer(folder):
    for name, z in zip(("a.npy", "b.npy"), views("clustered", 5000, 8), strict=True):
        np.save(folder / name, z.numpy())
    command = ["ntxent", "analyze", "a.npy", "b.npy", "-t", "0.1", "--json"]
    launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"]
    one, two = (
        json.loads(
            subprocess.run(
                [sys.executable, "-m", *start, *command], capture_output=True, text=True, check=True
            ).stdout
        )
        for start in ([], launcher)
    )
    assert one.keys() == two.keys()
    for name, value in one.items():
        if isinstance(value, float) or name.endswith("interval"):
            assert two[name] == pytest.approx(value, rel=1e-6, abs=1e-6), name
        else:
            assert two[name] == value, name


def test_the_table_says_what_was_measured_and_what_is_proven(command):
    out = command(f"{save_npy('one', Z1)} {save_npy('two', Z2)}")
    for words in (
        *("N = 300, d = 8, τ = 0.5", "floor", "chance", "ceiling", "position", "measured floor"),
        *("positive cosine", "proven", "positives on top", "alignment", "uniformity"),
        *("effective rank", "Cosines", "Next: "),
    ):
        assert words in out
    assert max(map(len, out.splitlines())) <= 80


def test_collapse_is_named(command):
    z1, z2 = views("collapsed", 40, 4)
    out = command(f"{save_npy('one', z1)} {save_npy('two', z2)}")
    assert "collapsed" in out
    assert "all embeddings point the same way" in " ".join(out.split())


def test_plot_is_one_whole_page_that_loads_nothing(command, folder):
    command(f"{save_npy('one', Z1)} {save_npy('two', Z2)} --json --plot out.html")
    page = (folder / "out.html").read_text()
    assert "</html>" in page
    assert 'src="http' not in page
    assert sorted(p.name for p in folder.iterdir()) == ["one.npy", "out.html", "two.npy"]


def test_no_progress_is_drawn_where_nobody_watches(command):
    # The fixture asserts that standard error stays empty.
    command(f"{save_npy('one', Z1)} {save_npy('two', Z2)}")


def write(name, content):
    with open(name, "wb") as file:
        file.write(content)


def prepare():
    """Every bad file that the cases below name."""
    np.save("ok.npy", np.eye(4, dtype=np.float32))
    np.save("short.npy", np.eye(4, dtype=np.float32)[:3])
    np.save("one.npy", np.ones((1, 4), np.float32))
    np.save("flat.npy", np.ones(4, np.float32))
    np.save("ints.npy", np.ones((4, 4), np.int64))
    np.save("complex.npy", np.ones((4, 4), complex))
    np.save("empty.npy", np.ones((0, 4), np.float32))
    np.save("objects.npy", np.array([{1: 2}], dtype=object), allow_pickle=True)
    np.savez("two.npz", a=np.eye(4), b=np.eye(4))
    bad = np.eye(4, dtype=np.float32)
    bad[1] = 0
    np.save("zero.npy", bad)
    bad[2, 0] = bad[3, 0] = np.nan
    bad[1] = 1
    np.save("nan.npy", bad)
    write("text.npy", b"not an array")
    write("nothing.npy", b"")
    write("text.npz", b"not an archive")
    write("text.pt", b"not a checkpoint")
    write("text.safetensors", b"not tensors")
    write("table.csv", b"1,2")
    torch.save(torch.nn.Linear(2, 2), "module.pt")
    torch.save([1, 2], "list.pt")
    torch.save({"a": torch.ones(2, 2), "b": "text"}, "mixed.pt")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ("missing.npy ok.npy", "No such file.*missing.npy"),
        ("ok.npy missing.npz:a", "No such file.*missing.npz"),
        ("table.csv ok.npy", r"table.csv: received a .csv file, expected one of .npy, .npz, .pt"),
        ("noending ok.npy", "noending: received a nameless file"),
        ("text.npy ok.npy", "text.npy: "),
        ("nothing.npy ok.npy", "nothing.npy: "),
        ("text.npz ok.npy", "text.npz: "),
        ("text.pt ok.npy", "text.pt: "),
        ("text.safetensors ok.npy", "text.safetensors: "),
        ("objects.npy ok.npy", "objects.npy: .*bjects"),
        ("module.pt ok.npy", "module.pt: it holds pickled Python objects"),
        ("list.pt ok.npy", "list.pt: received list, expected a dense array"),
        ("mixed.pt:b ok.npy", "mixed.pt:b: received str"),
        ("two.npz ok.npy", r"two.npz: it holds 2 arrays \('a', 'b'\); name one as FILE:NAME"),
        ("two.npz:c ok.npy", "two.npz:c: received the name 'c', expected one of 'a', 'b'"),
        ("ok.npy:a ok.npy", "ok.npy:a: received the name 'a', and its array has none"),
        ("ints.npy ok.npy", "ints.npy: received int64"),
        ("complex.npy ok.npy", "complex.npy: received complex128"),
        ("flat.npy ok.npy", r"flat.npy: received shape \[4\]"),
        ("empty.npy empty.npy", "empty.npy: "),
        ("one.npy one.npy", r"one.npy: received shape \[1, 4\].*N >= 2"),
        ("ok.npy short.npy", r"ok.npy and short.npy: received shapes \[4, 4\] and \[3, 4\]"),
        ("ok.npy zero.npy", r"zero.npy: row 1 has zero norm \(1 such rows\)"),
        ("nan.npy ok.npy", r"nan.npy: row 2 has a value that is not finite \(2 such rows\)"),
        ("ok.npy ok.npy -t 0", "temperature: received 0.0"),
        ("ok.npy ok.npy --plot out.gif", "--plot: received 'out.gif'"),
        ("ok.npy ok.npy --plot nowhere/out.html", "no folder nowhere"),
        ("ok.npy zero.npy --plot out.html", "zero.npy: row 1"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(command, folder, files, message):
    prepare()
    before = sorted(folder.iterdir())
    with pytest.raises((ValueError, OSError), match=message) as refusal:
        command(files)
    assert "\n" not in str(refusal.value)
    assert sorted(folder.iterdir()) == before


def test_png_without_kaleido_is_refused_before_any_work(command, folder, monkeypatch):
    monkeypatch.setattr(slides, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install kaleido"):
        command("missing.npy missing.npy --plot out.png")
