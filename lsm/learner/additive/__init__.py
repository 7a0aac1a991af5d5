"""The additive part of a network: curves of its inputs, and where they start."""
