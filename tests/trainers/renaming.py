"""Another version of a library: one that gave something private another name."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import re
import sys
from pathlib import Path


class Renaming(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from its source, in which a name was replaced throughout."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    @classmethod
    def install(cls, module: str, name: str) -> None:
        """Call it before the module is imported."""
        assert module not in sys.modules
        sys.meta_path.insert(0, cls(module, name))

    def find_spec(self, fullname, path=None, target=None):
        if fullname != self.module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        self.path = spec.origin
        spec.loader = self
        return spec

    def exec_module(self, module):
        source = Path(self.path).read_text("utf-8")
        renamed, count = re.subn(rf"\b{self.name}\b", f"{self.name}_of_another_version", source)
        assert count > 0
        exec(compile(renamed, self.path, "exec"), module.__dict__)
