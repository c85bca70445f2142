"""The NT-Xent loss, exact at any batch size, and proven limits that say what its value means.

Names load on first use, so that ``import ntxent`` costs nothing and the bounds answer without
PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "HealthMonitor",
    "InfoNCELoss",
    "MoCoLoss",
    "NTXentCallback",
    "NTXentLoss",
    "SupConLoss",
    "__version__",
    "bounds",
    "diagnose",
    "diagnosis",
    "engines",
    "functional",
    "gradcache",
    "info_nce_loss",
    "losses",
    "measures",
    "nt_xent_loss",
    "reference",
    "sup_con_loss",
]

_HOME = {
    "HealthMonitor": "ntxent.monitor",
    "NTXentCallback": "ntxent.monitor",
    "diagnose": "ntxent.diagnosis",
    "gradcache": "ntxent.gradient_cache",
    "InfoNCELoss": "ntxent.losses",
    "MoCoLoss": "ntxent.losses",
    "NTXentLoss": "ntxent.losses",
    "SupConLoss": "ntxent.losses",
    "info_nce_loss": "ntxent.losses",
    "nt_xent_loss": "ntxent.losses",
    "sup_con_loss": "ntxent.losses",
}

if TYPE_CHECKING:
    from ntxent import bounds, diagnosis, engines, functional, losses, measures, reference
    from ntxent.diagnosis import diagnose
    from ntxent.gradient_cache import gradcache
    from ntxent.losses import (
        InfoNCELoss,
        MoCoLoss,
        NTXentLoss,
        SupConLoss,
        info_nce_loss,
        nt_xent_loss,
        sup_con_loss,
    )
    from ntxent.monitor import HealthMonitor, NTXentCallback


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in __all__:
        return import_module(f"ntxent.{name}")
    raise AttributeError(
        f"module 'ntxent' has no attribute {name!r}; it offers {', '.join(__all__)}"
    )


def __dir__() -> list[str]:
    return list(__all__)
