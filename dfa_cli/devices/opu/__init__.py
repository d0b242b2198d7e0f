"""The simulated optical processing unit, stage by stage."""

from dfa_cli.devices.opu.accounting import Limits
from dfa_cli.devices.opu.camera import Camera
from dfa_cli.devices.opu.device import OPU
from dfa_cli.devices.opu.encoding import Bitplanes, Float, Sign, Ternary
from dfa_cli.devices.opu.medium import Auto, Dense, Procedural, Structured
from dfa_cli.devices.opu.readout import Ideal, Intensity, OffAxis, PhaseShifting
from dfa_cli.devices.opu.statistical import Statistical

__all__ = [
    "OPU",
    "Auto",
    "Bitplanes",
    "Camera",
    "Dense",
    "Float",
    "Ideal",
    "Intensity",
    "Limits",
    "OffAxis",
    "PhaseShifting",
    "Procedural",
    "Sign",
    "Statistical",
    "Structured",
    "Ternary",
]
