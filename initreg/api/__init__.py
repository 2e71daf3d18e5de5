"""What the user calls, one file a verb."""
