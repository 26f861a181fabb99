"""What a piece played before, offered to the heads."""
