"""What a search may return: operations, cells and spaces of them, and the zoo. No torch here."""
