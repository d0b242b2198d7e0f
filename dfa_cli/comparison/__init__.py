"""Runs side by side: which belong together, their statistics, and the table."""
