"""Measured by hand; see docs/benchmarks.md."""
