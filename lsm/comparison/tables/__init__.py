"""From scores to tables and text."""
