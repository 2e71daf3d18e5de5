"""The formats in the wheel, one module each, registered as entry points like anybody's."""
