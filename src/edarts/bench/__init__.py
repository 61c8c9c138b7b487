"""Steps timed against the textbook formulation of the papers' code."""
