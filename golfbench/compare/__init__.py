"""Comparing two runs or two entries of a leaderboard: what became better, what worse, what cannot be told apart."""
