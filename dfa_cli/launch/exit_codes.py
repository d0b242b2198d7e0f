"""What the commands that run something tell the shell."""

COMPLETED, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130
