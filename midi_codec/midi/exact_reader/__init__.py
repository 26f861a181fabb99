"""Our own reader of tracks: slow and exact, with all rules in one place."""
