"""Embeddings in files: every format read exactly, written and read again, rows paired by name."""

import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from embeddings import views
from ntxent.analysis.files import (
    WRITERS,
    check_output,
    read_embeddings,
    read_pairs,
    write_embeddings,
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


Z, _ = views("clustered", 30, 8)


def save_parquet(name, **columns):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table(columns), name)


def save_npy(name, z):
    np.save(f"{name}.npy", z.numpy())
    return f"{name}.npy"


def save_npz(name, z):
    np.savez(f"{name}.npz", only=z.numpy())
    return f"{name}.npz"


def save_npz_of_two(name, z):
    np.savez(f"{name}.npz", other=np.ones(3), mine=z.numpy())
    return f"{name}.npz:mine"


def save_fortran(name, z):
    np.save(f"{name}.npy", np.asfortranarray(z.numpy()))
    return f"{name}.npy"


def save_big_endian(name, z):
    np.save(f"{name}.npy", z.numpy().astype(">f4"))
    return f"{name}.npy"


def save_pt(name, z):
    torch.save(z, f"{name}.pt")
    return f"{name}.pt"


def save_pth_of_two(name, z):
    torch.save({"a": torch.ones(2), "b": z.clone().requires_grad_()}, f"{name}.pth")
    return f"{name}.pth:b"


def save_safetensors(name, z):
    save_file({"z": z}, f"{name}.safetensors")
    return f"{name}.safetensors"


def save_lists(name, z):
    save_parquet(f"{name}.parquet", label=list(range(len(z))), z=z.tolist())
    return f"{name}.parquet"


def save_columns(name, z):
    save_parquet(f"{name}.parquet", **{f"c{k}": z[:, k].numpy() for k in range(z.shape[1])})
    return f"{name}.parquet"


SAVERS = [
    *(save_npy, save_npz, save_npz_of_two, save_fortran, save_big_endian),
    *(save_pt, save_pth_of_two, save_safetensors, save_lists, save_columns),
]


@pytest.mark.parametrize("save", SAVERS)
def test_every_format_is_read_as_it_was_saved(save):
    assert torch.equal(read_embeddings(save("file", Z)).float(), Z)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("save", [save_npy, save_pt, save_safetensors])
def test_every_dtype_is_kept(save, dtype):
    if (save, dtype) == (save_npy, torch.bfloat16):
        pytest.skip("NumPy has no bfloat16")
    z = Z.to(dtype)
    read = read_embeddings(save("file", z))
    assert read.dtype == dtype
    assert torch.equal(read, z)


def test_npy_is_mapped_and_never_written_to():
    file = save_npy("file", Z)
    read_embeddings(file).zero_()
    assert np.array_equal(np.load(file), Z.numpy())


def test_a_colon_in_the_name_of_a_file_is_a_colon():
    np.save("a.npy:b.npy", Z.numpy())
    assert torch.equal(read_embeddings("a.npy:b.npy"), Z)


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet", raising=False)
    open("file.parquet", "wb").close()
    with pytest.raises(ValueError, match=r"file.parquet: .*pip install pyarrow"):
        read_embeddings("file.parquet")


def test_ragged_and_missing_lists_are_refused():
    save_parquet("ragged.parquet", z=[[1.0, 2.0], [1.0]])
    save_parquet("missing.parquet", z=[[1.0, 2.0], None])
    save_parquet("words.parquet", word=["a", "b"])
    for name in ("ragged", "missing"):
        with pytest.raises(ValueError, match=f"{name}.parquet: column 'z': lists of lengths"):
            read_embeddings(f"{name}.parquet")
    with pytest.raises(ValueError, match=r"words.parquet: received object"):
        read_embeddings("words.parquet")


# --- what embed writes ----------------------------------------------------------------------------

COLUMNS = {
    "embeddings": list(Z.numpy()),
    "labels": [k % 3 - 1 for k in range(30)],
    "files": [f"{k % 15}.png" for k in range(30)],
    "parts": ["train"] * 15 + ["test"] * 15,
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_what_is_written_is_read_without_a_name(folder, suffix):
    write_embeddings(folder / f"z{suffix}", COLUMNS, ["cat", "dog"])
    assert torch.equal(read_embeddings(f"z{suffix}"), Z)
    assert torch.equal(read_embeddings(f"z{suffix}:embeddings"), Z)
    assert [file.name for file in folder.iterdir()] == [f"z{suffix}"]


def permuted(order):
    return {name: [values[k] for k in order] for name, values in COLUMNS.items()}


@pytest.mark.parametrize("suffixes", [(".npz", ".npz"), (".npz", ".parquet")])
def test_rows_are_paired_by_part_and_file(folder, suffixes):
    order = np.random.default_rng(0).permutation(30)[:25]
    write_embeddings(folder / f"one{suffixes[0]}", COLUMNS, [])
    write_embeddings(folder / f"two{suffixes[1]}", permuted(order), [])
    z1, z2, reordered, unpaired = read_pairs(f"one{suffixes[0]}", f"two{suffixes[1]}")
    assert torch.equal(z1, Z[sorted(order)])
    assert torch.equal(z2, z1)
    assert reordered
    assert unpaired == (5, 0)


@pytest.mark.parametrize("names", [{}, {"files": np.array([""] * 30)}])
def test_rows_without_names_are_paired_by_their_order(names):
    turned = Z.flip(0).numpy()
    np.savez("one.npz", embeddings=Z.numpy(), files=np.array(COLUMNS["files"]))
    np.savez("two.npz", embeddings=turned, **names)
    z1, z2, reordered, unpaired = read_pairs("one.npz", "two.npz")
    assert torch.equal(z1, Z)
    assert torch.equal(z2, Z.flip(0))
    assert (reordered, unpaired) == (False, (0, 0))


def test_names_that_cannot_pair_rows_are_refused():
    rows = np.eye(3)
    for name, files in (("abc", "abc"), ("xyz", "xyz"), ("aab", "aab"), ("bca", "bca")):
        np.savez(f"{name}.npz", embeddings=rows, files=np.array(list(files)))
    with pytest.raises(ValueError, match=r"named 'a' … and 'x' …, expected names in common"):
        read_pairs("abc.npz", "xyz.npz")
    with pytest.raises(ValueError, match=r"aab\.npz: received 'a' as the name of rows 0 and 1"):
        read_pairs("bca.npz", "aab.npz")
    z1, z2, *_ = read_pairs("aab.npz", "aab.npz")  # the same order needs no names of their own
    assert torch.equal(z1, z2)


def test_formats_that_cannot_be_written_are_refused(folder, monkeypatch):
    from ntxent.analysis import files

    with pytest.raises(
        ValueError, match=r"received 'z\.csv', expected a name in \.npz or \.parquet"
    ):
        check_output(folder / "z.csv")
    monkeypatch.setattr(files, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"output: \.parquet needs pyarrow; pip install pyarrow"):
        check_output(folder / "z.parquet")
    check_output(folder / "z.npz")
