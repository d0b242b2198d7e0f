"""The loop: it knows a rule, not which."""

CHECKPOINT = "checkpoint.safetensors"  # in a run's folder
