"""Exit codes of the commands that train. A mistake of the user is 2: `cli.py` turns every `DfaError` into it."""

COMPLETED, FAILED, INTERRUPTED = 0, 1, 130
