"""The learning loop: collect, decide by the surrogate, label, learn."""
