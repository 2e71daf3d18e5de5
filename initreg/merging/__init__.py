"""Merging: what several models become together, formula by formula and piece by piece."""
