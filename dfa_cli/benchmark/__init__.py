"""Measures how long a projection takes on this machine, and compares it with the modelled optics."""
