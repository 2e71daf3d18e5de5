"""What a plugin is, and how it is found. The contract is in :mod:`initreg.plugin.hookspecs`."""
