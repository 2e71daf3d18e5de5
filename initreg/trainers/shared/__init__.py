"""What the savers of all trainers have in common. Imports no framework."""
