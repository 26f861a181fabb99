"""`python -m trainer.tune`: a study of settings, shared by any number of workers."""
