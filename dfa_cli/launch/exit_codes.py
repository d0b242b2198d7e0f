"""Exit codes of the commands that train.

A mistake of the user gives 2, and an interruption 130 or 143: `cli.py` turns the exceptions into these codes.
"""

COMPLETED, FAILED = 0, 1
