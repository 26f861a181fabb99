"""Reading with symusic, and the checks that catch what it would misread."""
