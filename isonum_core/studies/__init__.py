"""Studies: one file each, with its grid and its predictions, and beside them the analyses of their chapters."""
