"""What may be taken out of music on purpose, for a corpus and for primers alike."""
