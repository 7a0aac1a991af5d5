"""What a block adapts on: its own samples and the nearest of other blocks, and how far these count."""
