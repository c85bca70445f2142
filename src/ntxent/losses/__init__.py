"""The losses, a file each: the function, and the module that holds its settings and state."""

from ntxent.losses.call import LossOptions
from ntxent.losses.info_nce import InfoNCELoss, MoCoLoss, info_nce_loss
from ntxent.losses.nt_xent import ContrastiveStats, NTXentLoss, nt_xent_loss
from ntxent.losses.sup_con import SupConLoss, sup_con_loss

__all__ = [
    "ContrastiveStats",
    "InfoNCELoss",
    "LossOptions",
    "MoCoLoss",
    "NTXentLoss",
    "SupConLoss",
    "info_nce_loss",
    "nt_xent_loss",
    "sup_con_loss",
]
