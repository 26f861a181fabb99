"""Whether MIDI files are read correctly: compared with other tools, and with deliberate damage."""
