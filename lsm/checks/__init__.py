"""What can be wrong with the inputs of a region: each finding with its remedy. Nothing here changes an input."""
