"""Our own reader of tracks: slow, exact, every rule in sight."""
