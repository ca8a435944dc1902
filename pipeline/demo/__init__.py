"""A made-up company whose logs show what longwatch finds."""
