"""What a command says while it works: progress, JSON lines; secrets masked."""
