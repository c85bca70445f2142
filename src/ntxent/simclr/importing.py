"""A name of the user's own code, as ``package.module:Name``, to the object it stands for."""

import sys
from importlib import import_module
from typing import Any

__all__ = ["load_object"]


def load_object(option: str, path: str) -> Any:
    """Import the object; modules of the working folder are found too.

    >>> load_object("model.encoder", "torch.nn:Identity")
    <class 'torch.nn.modules.linear.Identity'>

    Raises:
        ValueError: there is no such module, or it has no such name; the message begins with
            ``option``.
    """
    module, _, name = path.partition(":")
    sys.path.insert(0, "")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{option}: received {path!r}: {error}; name it as package.module:Name, and install "
            "the package or start in its folder"
        ) from error
    except AttributeError as error:
        raise ValueError(f"{option}: received {path!r}: {error}") from error
    finally:
        sys.path.remove("")
