"""The options that say what a loss is measured by."""

from __future__ import annotations

from typing import Any

from ntxent.bounds import Given

__all__ = ["add_convention", "given_convention"]


def add_convention(parser: Any) -> None:
    parser.add_argument("-n", "--batch-size", type=int, help="N, the number of positive pairs.")
    parser.add_argument("-t", "--temperature", type=float, help="Temperature τ of the loss.")
    parser.add_argument(
        "--variant", type=str, default="nt_xent", help="Convention of the loss, e.g. simclr_tf."
    )
    parser.add_argument("--queue", type=int, help="Queued negatives, for moco.")
    parser.add_argument("--dim", type=int, help="Dimension of the embeddings.")
    parser.add_argument("--views", type=int, help="Views of each sample, 2 unless given.")
    parser.add_argument(
        "--negatives", type=int, help="Negatives that each query of InfoNCE or CLIP brings along."
    )
    parser.add_argument(
        "--unnormalized",
        action="store_true",
        help="Embeddings have no unit length: neither floor nor ceiling holds.",
    )


def given_convention(options: Any) -> Given:
    """Those of the options that were given, by their names as fields of a ``Convention``."""
    names = ("batch_size", "temperature", "variant", "queue", "dim", "views", "negatives")
    given = {name: getattr(options, name) for name in names}
    if options.unnormalized:
        given["normalized"] = False
    return {name: value for name, value in given.items() if value is not None}
