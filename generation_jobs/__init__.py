"""A bundle and a seed list become music: `python -m generation_jobs.generate`, then `.report`."""

import midi_codec  # noqa: F401  takes signals while the rest is imported
