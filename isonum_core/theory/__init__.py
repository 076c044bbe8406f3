"""Theory: what the geometry of a log-linear forecaster can tell and what it cannot, as functions to check."""
