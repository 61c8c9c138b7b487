"""Black-box methods, one file each, and the driver that keeps their ledger."""
