"""What a worker and a relay tell Prometheus and whoever asks after their health."""
