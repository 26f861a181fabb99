"""Music as columns: the notes of a piece, and several pieces in one set of columns."""
