"""Runs side by side: which belong in one row, their statistics, and the table."""
