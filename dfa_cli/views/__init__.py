"""Runs shown to people: a list, one run, the difference of two runs, a report."""
