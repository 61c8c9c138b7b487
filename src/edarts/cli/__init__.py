"""The command line: a small file for each group of verbs."""
