"""Makes ``pages``, ``run_page`` and ``given`` importable, and the program that builds the site."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[2] / "tools" / "site"))
