"""The note model: layers, heads, likelihoods."""
