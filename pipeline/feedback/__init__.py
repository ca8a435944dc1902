"""What people say of alerts, and what that silences: marks, where each took effect, and rules in YAML."""
