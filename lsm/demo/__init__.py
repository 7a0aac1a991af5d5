"""The demo area: a synthetic island with planted landslides."""
