"""Plans one model over several stages: step time, idle share, traffic and memory, without running it."""
