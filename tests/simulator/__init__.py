"""A Kafka cluster in memory under a virtual clock, in which the product's own worker runs unchanged."""
