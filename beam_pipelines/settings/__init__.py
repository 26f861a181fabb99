"""What fixes the content of a dataset besides its inputs."""
