"""One run, from its command or its record to an exit code."""
