"""What benchmarks share: rounds, peers' processes, made-up material, the machine's description."""
