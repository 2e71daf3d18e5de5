"""What the user asks for: rename, drop, cast, ... Names and specs, never bytes."""
