"""`python -m benchmarks.performances`: nats per note on performances, ours beside other models."""
