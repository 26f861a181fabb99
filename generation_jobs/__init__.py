"""A bundle and a seed list become music: `python -m generation_jobs.generate`, then `.report`."""
