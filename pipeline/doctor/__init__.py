"""What a worker needs of brokers, topics, group and bundle, each asked for and judged."""
