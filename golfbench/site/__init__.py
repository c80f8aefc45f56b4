"""The page: one self-contained HTML file of tracks or of a person's own runs. It needs no server and no network."""
