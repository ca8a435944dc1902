"""Alerts in the forms that other systems read: OCSF, ECS, CloudEvents; each a pure function of the alert."""
