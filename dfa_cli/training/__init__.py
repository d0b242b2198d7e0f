"""The loop: it knows a rule, not which."""
