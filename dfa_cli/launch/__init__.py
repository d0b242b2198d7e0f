"""Starts, repeats or continues one run, from a command or a record to the exit code."""
