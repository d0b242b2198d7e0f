"""Projection devices: who computes `e B`. No device knows of networks."""

from dfa_cli.devices.base import Cost, ProjectionDevice
from dfa_cli.devices.digital import Digital

__all__ = ["Cost", "Digital", "ProjectionDevice"]
