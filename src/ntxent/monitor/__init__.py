"""Watching the loss while it trains: where it stands, what it proves, and early warnings in words.

:class:`HealthMonitor` serves any loop; :class:`NTXentCallback` any LightningModule;
:class:`NTXentTrainerCallback` a Trainer of Hugging Face. Their libraries are imported when they are
asked for.
"""

from typing import TYPE_CHECKING, Any

from .health import HealthMonitor

if TYPE_CHECKING:
    from .callback import NTXentCallback
    from .trainer_callback import NTXentTrainerCallback

__all__ = ["HealthMonitor", "NTXentCallback", "NTXentTrainerCallback"]


def __getattr__(name: str) -> Any:
    if name == "NTXentCallback":
        from .callback import NTXentCallback

        return NTXentCallback
    if name == "NTXentTrainerCallback":
        from .trainer_callback import NTXentTrainerCallback

        return NTXentTrainerCallback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
