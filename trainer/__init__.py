"""Dataset in, bundle out: the model, its training loop, and what is measured of it."""
