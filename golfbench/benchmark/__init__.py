"""The benchmark: protocol, records, and metrics that are pure functions of records."""
