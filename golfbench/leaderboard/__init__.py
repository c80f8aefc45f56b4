"""Leaderboards: tracks, entries that can be recomputed, statistics, ranks and the tables made from them."""
