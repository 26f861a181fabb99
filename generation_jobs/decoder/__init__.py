"""Requests to notes: the compiled decoder and the bundles it runs."""
