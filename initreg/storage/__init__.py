"""Where bytes are kept: files that are written atomically, locks, manifests, and safe reading."""
