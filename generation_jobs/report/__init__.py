"""`python -m generation_jobs.report`: one HTML page of generated music."""
