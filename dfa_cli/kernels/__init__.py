"""Faster replacements for single lines of torch. Each module begins with the plain torch line that it replaces."""
