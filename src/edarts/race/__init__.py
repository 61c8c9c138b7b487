"""The race: the found cell and plain networks compete on held-out training images."""
