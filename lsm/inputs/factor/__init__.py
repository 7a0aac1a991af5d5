"""What a landslide-inducing factor is, the list of an area's own factors, and classes that tables write in words."""
