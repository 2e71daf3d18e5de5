"""Where bytes are kept: written whole, locked, described, read back safely."""
