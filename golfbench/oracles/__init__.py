"""The only door to engines: isolation in worker processes, the ledger, the store of labels."""
