"""Reading embeddings from files: a table of formats, one function each.

A reader gives the arrays of a file by name; an array without a name has the name "". Nothing is
unpickled: files that hold Python objects are refused.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["FORMATS", "read_embeddings"]

# Arrays by name; each is read when it is called for.
Arrays = dict[str, Callable[[], Any]]

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def _npy(path: Path) -> Arrays:
    # Copy-on-write maps what a tensor may share: pages are read when they are used, none is changed
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
    """A column of lists is an array; without one, all columns together are the coordinates."""
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
        table = parquet.read_table(path)
        return np.stack([column.to_numpy() for column in table.columns], axis=1)

    named = [field.name for field in schema if "list" in str(field.type)]
    if not named:
        return {"": coordinates}
    return {name: partial(lists, name) for name in named}


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
            .pt, .pth or .safetensors, a column of lists of .parquet.

    Raises:
        OSError: there is no such file, or the system does not let it be read.
        ValueError: its content is not as above; the message begins with the file.
    """
    path, name = _split(str(source))
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(
            f"{path}: received a {suffix or 'nameless'} file, expected one of {_KNOWN}"
        )
    path.open("rb").close()  # the system's own words for what it refuses
    try:
        arrays = FORMATS[suffix](path)
        chosen = _choose(arrays, name)
        return _matrix(arrays[chosen]())
    except MemoryError:
        raise
    except Exception as error:  # each format has its own for what is malformed
        reason = _REFUSED if "weights_only" in str(error) else str(error).partition("\n")[0]
        raise ValueError(f"{source}: {reason or type(error).__name__}") from error


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
    listed = ", ".join(map(repr, arrays))
    if name is None:
        if len(arrays) == 1:
            return next(iter(arrays))
        raise ValueError(f"it holds {len(arrays)} arrays ({listed}); name one as FILE:NAME")
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
