"""The function behind ``ntxent train``."""

from ntxent.simclr.train.train import train

__all__ = ["train"]
