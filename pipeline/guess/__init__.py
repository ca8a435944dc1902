"""A configuration guessed from a log file: its layout, whose behaviour it holds, how long its windows should be."""
