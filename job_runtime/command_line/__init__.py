"""Flags, and the numbers in them, with reports of all mistakes at once."""
