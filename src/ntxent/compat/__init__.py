"""The losses of other libraries under their own signatures, in O(N d) memory.

Migrating is one import line::

    from ntxent.compat.lightly import NTXentLoss
    from ntxent.compat.open_clip import ClipLoss
    from ntxent.compat.pytorch_metric_learning import NTXentLoss, SelfSupervisedLoss
    from ntxent.compat.sup_contrast import SupConLoss

Value and gradient are those of the original up to rounding, with rows normalised where the original
normalises them. What an original accepts and this package does not is refused, never computed
differently; but rows shorter than 1e-12, which some originals do not bring to unit norm, and those
whose squares overflow are normalised as all others. The loss is float32 or float64, also where an
original would return half precision.
None of these libraries is imported.
"""
