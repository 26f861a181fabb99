"""A dataset's splits in memory, and the batches made of them."""
