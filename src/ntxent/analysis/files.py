"""Embeddings in files: reading and writing them, and pairing the rows of two files.

A file holds arrays by name; an array without a name has the name "". Nothing is unpickled: a file
that holds Python objects is refused. Each format is a function in ``FORMATS`` or ``WRITERS``.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ntxent.files import atomic

__all__ = [
    "FORMATS",
    "WRITERS",
    "Pairs",
    "check_output",
    "read_embeddings",
    "read_pairs",
    "write_embeddings",
]

# What `write_embeddings` calls the rows, and the two columns that together name a row.
ROWS, NAMES = "embeddings", ("parts", "files")

# Arrays by name; each is read when it is called.
Arrays = dict[str, Callable[[], Any]]

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def _npy(path: Path) -> Arrays:
    # Copy-on-write: pages are read when they are used, and no tensor changes the file.
    return {"": partial(np.load, path, mmap_mode="c", allow_pickle=False)}


def _npz(path: Path) -> Arrays:
    archive = np.load(path, allow_pickle=False)
    return {name: partial(archive.__getitem__, name) for name in archive.files}


def _torch(path: Path) -> Arrays:
    content = torch.load(path, map_location="cpu", weights_only=True)
    named = content if isinstance(content, dict) else {"": content}
    return {str(name): partial(named.__getitem__, name) for name in named}


def _safetensors(path: Path) -> Arrays:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        names = list(file.keys())

    def read(name: str) -> Any:
        with safe_open(path, framework="pt") as file:
            return file.get_tensor(name)

    return {name: partial(read, name) for name in names}


def _parquet(path: Path) -> Arrays:
    """Columns of lists are arrays, and so are names; without lists, all columns are coordinates."""
    try:
        parquet, compute = import_module("pyarrow.parquet"), import_module("pyarrow.compute")
    except ModuleNotFoundError as error:
        raise ValueError("pyarrow is not installed; run: pip install pyarrow") from error
    schema = parquet.read_schema(path)

    def lists(name: str) -> Any:
        column = parquet.read_table(path, columns=[name]).column(0)
        lengths = compute.unique(compute.list_value_length(column)).to_pylist()
        if len(lengths) != 1 or lengths[0] is None:
            raise ValueError(
                f"column {name!r}: lists of lengths {lengths[:5]}, expected one length"
            )
        return compute.list_flatten(column).to_numpy().reshape(len(column), -1)

    def coordinates() -> Any:
        table = parquet.read_table(path, columns=[n for n in schema.names if n not in names])
        return np.stack([column.to_numpy() for column in table.columns], axis=1)

    def words(name: str) -> Any:
        return parquet.read_table(path, columns=[name]).column(0).to_pylist()

    names: Arrays = {f.name: partial(words, f.name) for f in schema if f.name in NAMES}
    arrays: Arrays = {f.name: partial(lists, f.name) for f in schema if "list" in str(f.type)}
    return (arrays or {"": coordinates}) | names


FORMATS: dict[str, Callable[[Path], Arrays]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".pt": _torch,
    ".pth": _torch,
    ".safetensors": _safetensors,
    ".parquet": _parquet,
}


def read_embeddings(source: str | Path) -> Tensor:
    """A matrix ``[N, d]`` of float16, bfloat16, float32 or float64; .npy files are memory-mapped.

    Args:
        source: ``FILE``, or ``FILE:NAME`` for one of the arrays that it holds: an entry of .npz,
            .pt, .pth or .safetensors, a column of lists of .parquet. Without a name, the array
            called ``embeddings`` is read, or the only one.

    Raises:
        OSError: there is no such file, or the system does not let it be read.
        ValueError: its content is not as above; the message begins with the file.
    """
    rows, _ = _read(str(source))
    return rows


class Pairs(NamedTuple):
    """Two views ``[N, d]`` whose rows i belong together.

    reordered: the rows were paired by their names, and are not in the order of the files.
    unpaired: how many rows of each file have no partner and are left out.
    """

    z1: Tensor
    z2: Tensor
    reordered: bool
    unpaired: tuple[int, int]


def read_pairs(first: str | Path, second: str | Path) -> Pairs:
    """The embeddings of two files as pairs.

    If both files name their rows, as ``ntxent embed`` does in ``files`` and ``parts``, rows of one
    name are a pair, in the order of ``first``. If not, row i of one belongs to row i of the other.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is malformed; a name stands twice; the two have no name in common.
    """
    (z1, names1), (z2, names2) = _read(str(first)), _read(str(second))
    if names1 is None or names2 is None:
        return Pairs(z1, z2, False, (0, 0))
    keys = [key for key in NAMES if key in names1 and key in names2]
    rows1, rows2 = (
        list(zip(*(names[key] for key in keys), strict=True)) for names in (names1, names2)
    )
    if rows1 == rows2:
        return Pairs(z1, z2, False, (0, 0))
    place1, place2 = _places(str(first), rows1), _places(str(second), rows2)
    shared = [name for name in place1 if name in place2]
    if not shared:
        raise ValueError(
            f"{first} and {second}: received rows named {_word(rows1[0])} … and {_word(rows2[0])} "
            "…, expected names in common, by which rows are paired; embed the same images, or save "
            "the embeddings alone to pair them by their order"
        )
    z1 = z1[[place1[name] for name in shared]]
    z2 = z2[[place2[name] for name in shared]]
    return Pairs(z1, z2, True, (len(rows1) - len(shared), len(rows2) - len(shared)))


def _places(source: str, names: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], int]:
    places: dict[tuple[str, ...], int] = {}
    for row, name in enumerate(names):
        if name in places:
            raise ValueError(
                f"{source}: received {_word(name)} as the name of rows {places[name]} and {row}, "
                "expected a name of its own for each row, by which those of two files are paired"
            )
        places[name] = row
    return places


def _word(name: tuple[str, ...]) -> str:
    return repr(name[-1])  # the file, without its part


def _read(source: str) -> tuple[Tensor, dict[str, list[str]] | None]:
    """The rows of a file and, where it has them, the columns that name them."""
    path, name = _split(source)
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(
            f"{path}: received a {suffix or 'nameless'} file, expected one of {_KNOWN}"
        )
    path.open("rb").close()  # the system's own words for what it refuses
    try:
        arrays = FORMATS[suffix](path)
        rows = _matrix(arrays[_choose(arrays, name)]())
        return rows, _names(arrays, len(rows))
    except MemoryError:
        raise
    except Exception as error:  # each format has its own exceptions for what is malformed
        reason = _REFUSED if "weights_only" in str(error) else str(error).partition("\n")[0]
        raise ValueError(f"{source}: {reason or type(error).__name__}") from error


def _names(arrays: Arrays, count: int) -> dict[str, list[str]] | None:
    """The columns that name the rows; None where the rows have no file names."""
    columns = {}
    for key in NAMES:
        if key in arrays:
            words = np.asarray(arrays[key]())
            if words.shape == (count,) and words.dtype.kind == "U":
                columns[key] = words.tolist()
    return columns if all(columns.get("files", [""])) else None


_KNOWN = ", ".join(FORMATS)
_REFUSED = (
    "it holds pickled Python objects, which may run code when read; save a tensor, or a dict of "
    "tensors, with torch.save"
)


def _split(source: str) -> tuple[Path, str | None]:
    file, _, name = source.rpartition(":")
    if Path(file).suffix.lower() in FORMATS and not Path(source).exists():
        return Path(file), name
    return Path(source), None


def _choose(arrays: Arrays, name: str | None) -> str:
    matrices = [known for known in arrays if known not in NAMES]
    listed = ", ".join(map(repr, matrices))
    if name is None:
        if ROWS in arrays:
            return ROWS
        if len(matrices) == 1:
            return matrices[0]
        raise ValueError(f"it holds {len(matrices)} arrays ({listed}); name one as FILE:NAME")
    if name in arrays:
        return name
    if listed == "''":
        raise ValueError(f"received the name {name!r}, and its array has none; leave :{name} out")
    raise ValueError(f"received the name {name!r}, expected one of {listed}")


def _matrix(array: Any) -> Tensor:
    if isinstance(array, np.ndarray) and array.dtype.kind == "f" and array.dtype.itemsize <= 8:
        native = array.dtype.newbyteorder("=")
        array = torch.from_numpy(np.require(array, native, "W"))
    dtype = getattr(array, "dtype", type(array).__name__)
    if not isinstance(array, Tensor) or dtype not in _DTYPES or array.layout != torch.strided:
        raise ValueError(
            f"received {dtype}, expected a dense array of float16, float32 or float64, or bfloat16 "
            "in .pt or .safetensors"
        )
    if array.ndim != 2:
        raise ValueError(f"received shape {list(array.shape)}, expected [N, d], a row an embedding")
    return array.detach()


# --- writing --------------------------------------------------------------------------------------


def check_output(path: Path) -> None:
    """Refuse a file that :func:`write_embeddings` cannot write.

    Raises:
        ValueError: the format is not known, or its package is not installed.
    """
    if path.suffix not in WRITERS:
        known = " or ".join(WRITERS)
        raise ValueError(f"output: received {path.name!r}, expected a name in {known}")
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise ValueError("output: .parquet needs pyarrow; pip install pyarrow, or write .npz")


def write_embeddings(
    path: Path, columns: Mapping[str, Sequence[Any]], classes: Sequence[str]
) -> None:
    """Write embeddings and what is known of each, whole or not at all.

    Args:
        path: The file, .npz or .parquet.
        columns: ``embeddings``, a row each, and columns of the same length: ``labels``, indices
            into ``classes`` or −1, and the names ``files`` and ``parts``.
        classes: Their names. In .parquet the column ``classes`` has that of each row.

    Raises:
        OSError: the file cannot be written.
    """
    with atomic(path) as partial:
        WRITERS[path.suffix](partial, columns, classes)


def _write_npz(path: Path, columns: Mapping[str, Sequence[Any]], classes: Sequence[str]) -> None:
    arrays = {name: np.array(values) for name, values in columns.items()}
    with path.open("wb") as file:
        np.savez(file, **arrays, classes=np.array(classes, dtype=str))  # type: ignore[arg-type]


def _write_parquet(
    path: Path, columns: Mapping[str, Sequence[Any]], classes: Sequence[str]
) -> None:
    import pyarrow as arrow
    from pyarrow import parquet

    rows = arrow.array(columns[ROWS], arrow.list_(arrow.float32()))
    rest = {name: values for name, values in columns.items() if name != ROWS}
    names = [classes[label] if classes and label >= 0 else "" for label in columns["labels"]]
    parquet.write_table(arrow.table({ROWS: rows, **rest, "classes": names}), path)


WRITERS: dict[str, Callable[[Path, Mapping[str, Sequence[Any]], Sequence[str]], None]] = {
    ".npz": _write_npz,
    ".parquet": _write_parquet,
}
