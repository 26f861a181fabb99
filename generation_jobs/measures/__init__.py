"""Measures of music, and how generated music compares with a corpus in them."""
