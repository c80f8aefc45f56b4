"""A user's own molecules: read from files, minimized, and written as they were read."""
