"""A chunk of inputs to a part file: read, clean, measure, fingerprint, account for."""
