"""From extents to numpy arrays: the only place where bytes become arrays."""
