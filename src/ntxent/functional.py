"""The losses as functions; a file each in :mod:`ntxent.losses`."""

from ntxent.losses import (
    ContrastiveStats,
    LossOptions,
    info_nce_loss,
    nt_xent_loss,
    sup_con_loss,
)

__all__ = ["ContrastiveStats", "LossOptions", "info_nce_loss", "nt_xent_loss", "sup_con_loss"]
