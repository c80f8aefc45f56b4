"""Runs: configuration, run directory, manifest, resume."""
