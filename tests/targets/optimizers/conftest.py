"""Makes ``trained`` importable, which is no test itself."""

from __future__ import annotations

import sys
from pathlib import Path

import tensorflow  # noqa: F401 - all tests in this folder need it, and --no-framework leaves it out

sys.path.insert(0, str(Path(__file__).parent))
