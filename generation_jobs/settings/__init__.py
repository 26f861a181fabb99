"""What a piece is asked to be: sampling settings and constraints, and their flags."""
