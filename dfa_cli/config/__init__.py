"""Turns the words of a command into one checked configuration, and computes its identity."""
