"""Music as columns: notes, and several pieces in one set of columns."""
