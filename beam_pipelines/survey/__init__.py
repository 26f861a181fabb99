"""What a corpus would give, without writing a dataset."""
