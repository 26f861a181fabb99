"""The whole way in one command, on music that needs no download; what `make run` calls."""

import midi_codec  # noqa: F401  takes signals while the rest is imported
