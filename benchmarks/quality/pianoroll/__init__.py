"""`python -m benchmarks.pianoroll`: nats per frame on the piano rolls of Boulanger-Lewandowski et al. 2012."""
