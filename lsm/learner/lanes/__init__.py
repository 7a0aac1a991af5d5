"""Inner and outer loop compiled for processor cores: many tasks in lockstep, one a lane of a vector register."""
