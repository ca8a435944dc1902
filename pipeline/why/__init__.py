"""Why an alert: what was expected instead, and which other events its score hangs on."""
