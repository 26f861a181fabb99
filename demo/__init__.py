"""The whole way in one command, on music that needs no download; what `make run` calls."""
