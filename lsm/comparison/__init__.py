"""The evidence: points, splits, rivals, measures and tables."""
