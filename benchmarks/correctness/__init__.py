"""Whether MIDI files are read right: against other tools, damaged on purpose."""
