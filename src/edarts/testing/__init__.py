"""The contract tests that every plug-in must pass, and small problems to run them on."""
