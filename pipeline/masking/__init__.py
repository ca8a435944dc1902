"""Personal data and secrets made unreadable in all that leaves: alerts, dead letters, logs, report."""
