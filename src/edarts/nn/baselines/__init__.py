"""Plain published networks that compete with what a search finds, one file each."""
