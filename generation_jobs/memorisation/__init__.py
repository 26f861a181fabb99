"""`python -m generation_jobs.memorisation`: runs of notes that pieces share with a dataset."""
