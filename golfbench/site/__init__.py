"""The page: one self-contained HTML file of tracks or of the user's own runs. It needs no server and no network."""
