"""Flags and numbers as people write them, and what is said of mistakes in them."""
