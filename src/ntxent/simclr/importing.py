"""Objects of the user's own code, by ``package.module:Name``."""

import sys
from importlib import import_module
from typing import Any

__all__ = ["load_object"]


def load_object(option: str, path: str) -> Any:
    """Returns the object of that path; the working folder is searched for modules too.

    >>> load_object("model.encoder", "torch.nn:Identity")
    <class 'torch.nn.modules.linear.Identity'>

    Raises:
        ValueError: there is no such module, or no such name in it; the message begins with
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
