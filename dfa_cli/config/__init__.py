"""From the words of a command to one checked configuration and its identity."""
