"""`python -m generation_jobs.screening`: which generated pieces are wrong in a way that the corpus is not."""
