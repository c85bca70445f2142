"""Watching the loss while it trains: where it stands, what it proves, and early warnings in words.

:class:`HealthMonitor` serves any loop; :class:`NTXentCallback` any LightningModule. Lightning is
imported when the callback is asked for.
"""

from typing import TYPE_CHECKING, Any

from .health import HealthMonitor

if TYPE_CHECKING:
    from .callback import NTXentCallback

__all__ = ["HealthMonitor", "NTXentCallback"]


def __getattr__(name: str) -> Any:
    if name == "NTXentCallback":
        from .callback import NTXentCallback

        return NTXentCallback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
