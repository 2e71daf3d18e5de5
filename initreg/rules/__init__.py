"""Rules: rename, drop, keep, cast, ... They work on names and specs, never on bytes."""
