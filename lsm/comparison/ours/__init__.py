"""Networks that adapt to each block: ours, the published recipe step by step, and networks with another start."""
