"""Raw data → tokens."""
