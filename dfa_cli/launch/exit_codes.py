"""Exit codes of the commands that train."""

COMPLETED, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130
