"""How a choice is refused: the option, what was received, what is expected."""

from typing import Any

__all__ = ["require", "require_share"]


def require(holds: bool, name: str, received: Any, expected: str) -> None:
    """Raise a ``ValueError`` unless the condition holds."""
    if not holds:
        raise ValueError(f"{name}: received {received!r}, expected {expected}")


def require_share(name: str, received: float) -> None:
    """Raise a ``ValueError`` unless 0 <= received < 1."""
    require(0 <= received < 1, name, received, "a share from 0 to below 1")
