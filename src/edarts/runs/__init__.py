"""The run folder and what surrounds an execution: progress, stopping, workers."""
