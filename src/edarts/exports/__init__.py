"""Formats that a trained run can be written in, one file each."""
