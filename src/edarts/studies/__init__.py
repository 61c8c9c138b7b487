"""Many runs that answer one question: one file a study, and the driver that does the runs."""
