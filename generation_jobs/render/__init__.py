"""Renders MIDI files, generated music and datasets as audio files."""
