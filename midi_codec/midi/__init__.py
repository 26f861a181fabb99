"""MIDI bytes to `Notes` and back."""
