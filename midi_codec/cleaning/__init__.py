"""Optional removal of notes and pieces, in a corpus and in primers alike."""
