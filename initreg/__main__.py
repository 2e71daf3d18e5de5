"""``python -m initreg``."""

import sys

from initreg.cli import main

if __name__ == "__main__":
    sys.exit(main())
