"""Exit codes of the commands that train.

A mistake of the user gives 2: `cli.py` turns every `DfaError` into that code.
"""

COMPLETED, FAILED, INTERRUPTED = 0, 1, 130
