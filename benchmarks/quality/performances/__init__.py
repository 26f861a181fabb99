"""`python -m benchmarks.performances`: nats per note on performances, our model and others."""
