"""The contract tests that every plug-in must pass, and small problems to run them on.

`oneshot.check_method(METHOD)` runs those of a one-shot method; those of a black-box method are
`blackbox.LEDGER_CHECKS`. Each takes a name or the method itself and raises AssertionError.
"""
