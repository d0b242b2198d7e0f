"""Follows the light of one pattern through the simulated optics: pictures, and the noise by its sources."""
