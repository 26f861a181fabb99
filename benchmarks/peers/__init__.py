"""What we compare with. These run in .venv-peers and import nothing of ours."""
