"""Drawing notes from the model's heads, under constraints."""
