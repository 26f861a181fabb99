"""The files that a folder, a glob or a name stands for, and how they are named."""
