"""What the loss and its gradient cost at least on a GPU, counted on paper.

M = 2N anchors against themselves, d columns. By symmetry M^2 / 2 pairs are distinct. Forward they
take a product and an exponential each; backward, where nothing M x M was kept, the product and the
exponential again and two products more, for the rows and for the columns:

    multiply-adds  (1/2 + 1/2 + 1) M^2 d = 2 M^2 d        exponentials  M^2 / 2 + M^2 / 2 = M^2

and the rows are read and the gradient written once each pass. One way, N anchors among N candidates
have no symmetry: 4 N^2 d (forward 1, backward 1 + 2) and 2 N^2. A device needs at least the longest
of the three times; to reach it, it would have to overlap them entirely.
"""

from typing import NamedTuple

# Per multiprocessor and clock: dense multiply-adds of the tensor cores in bfloat16, in TF32, and of
# the ordinary cores in float32; exponentials of the special function units. From NVIDIA's
# architecture papers (A100, GA102, AD102, H100) and the throughput table of the CUDA programming
# guide, by compute capability.
_PER_CLOCK = {
    (8, 0): (1024, 512, 64, 16),
    (8, 6): (512, 256, 128, 16),
    (8, 9): (512, 256, 128, 16),
    (9, 0): (2048, 1024, 128, 16),
}
_COLUMN = {"bf16": 0, "tf32": 1, "float32": 2}


class Device(NamedTuple):
    capability: tuple[int, int]
    multiprocessors: int
    hertz: float
    bytes_per_second: float | None


class Work(NamedTuple):
    multiply_adds: float
    exponentials: float
    bytes: float


def work(family: str, n: int, d: int, itemsize: int, *, backward: bool) -> Work:
    """
    >>> work("nt_xent", 8, 4, 4, backward=True)
    Work(multiply_adds=2048.0, exponentials=256.0, bytes=768.0)
    """
    rows = 2 * n
    if family == "nt_xent":
        pairs, products, exponentials = rows**2, (2.0 if backward else 0.5), (1.0, 0.5)
    else:
        pairs, products, exponentials = n**2, (4.0 if backward else 1.0), (2.0, 1.0)
    # Read in the forward pass; read again and written in the backward one.
    passes = 3 if backward else 1
    exponent = exponentials[0] if backward else exponentials[1]
    return Work(pairs * d * products, pairs * exponent, float(passes * rows * d * itemsize))


def floors(work: Work, device: Device, precision: str) -> dict[str, float]:
    """Milliseconds each part needs; nothing for a device whose rates are not in the table.

    "float32" is three TF32 products, or the ordinary cores where those are faster.

    >>> h100 = Device((9, 0), 132, 1.83e9, 3.35e12)
    >>> whole = work("nt_xent", 32768, 128, 2, backward=True)
    >>> {part: round(time, 2) for part, time in floors(whole, h100, "bf16").items()}
    {'matrix_ms': 2.22, 'exponentials_ms': 1.11, 'bytes_ms': 0.02}
    """
    if device.capability not in _PER_CLOCK:
        return {}
    rates = _PER_CLOCK[device.capability]
    rate = rates[_COLUMN[precision]]
    if precision == "float32":
        rate = max(rate, rates[_COLUMN["tf32"]] // 3)
    clocks = device.multiprocessors * device.hertz / 1e3
    times = {
        "matrix_ms": work.multiply_adds / (rate * clocks),
        "exponentials_ms": work.exponentials / (rates[3] * clocks),
    }
    if device.bytes_per_second:
        times["bytes_ms"] = 1e3 * work.bytes / device.bytes_per_second
    return times
