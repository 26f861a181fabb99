"""What benchmarks share: rounds, processes of peers, synthetic input, the machine's description."""
