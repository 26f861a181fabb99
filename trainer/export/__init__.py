"""`python -m trainer.export`: a bundle as a SavedModel."""
