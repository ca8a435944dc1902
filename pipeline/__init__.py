"""Records in, alerts out."""
