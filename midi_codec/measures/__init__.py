"""What is measured of a piece of music: measures of its style, checks of its faults, and thresholds for them."""
