"""Incidents whose evidence lies up to 60,000 events back, planted in real streams: who sees them, and at what cost."""
