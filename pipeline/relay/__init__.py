"""From the alerts topic to whoever must know: at least once to each target, in the order of each alert."""
