"""Prints the table of docs/methods.md that says how far each method is from its authors' code."""

from edarts.testing.golden import table

print("\n".join(table()))
