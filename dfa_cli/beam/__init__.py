"""Follows the light of one frame through the simulated optics: pictures, and the noise by its sources."""
