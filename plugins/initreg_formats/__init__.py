"""The formats in the wheel: one module or package each, which is one entry point each.

A package's ``__init__`` holds the hooks and imports little, so that claiming a file stays cheap.
``shared`` holds the helpers that several formats use. No format imports another one.
"""
