"""``python -m ntxent`` is ``ntxent``."""

import sys

from ntxent.cli import main

if __name__ == "__main__":
    sys.exit(main())
