"""From extents to numpy arrays: the one place where bytes become arrays."""
