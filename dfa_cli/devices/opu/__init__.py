"""The simulated optical processing unit (OPU): encoding, medium, read-out and camera, one stage a module."""

from dfa_cli.devices.optics import FrameTime
from dfa_cli.devices.opu.camera import Camera
from dfa_cli.devices.opu.device import OPU
from dfa_cli.devices.opu.dithering import Dithered, DitheredTwoScales
from dfa_cli.devices.opu.drift import Drift
from dfa_cli.devices.opu.encoding import Bitplanes, Float, Sign, Ternary, TwoScales
from dfa_cli.devices.opu.laser import Laser
from dfa_cli.devices.opu.limits import Limits
from dfa_cli.devices.opu.media.auto import Auto
from dfa_cli.devices.opu.media.dense import Dense
from dfa_cli.devices.opu.media.procedural import Procedural
from dfa_cli.devices.opu.media.structured import Structured
from dfa_cli.devices.opu.readout.budget import Budget, noise_budget
from dfa_cli.devices.opu.readout.holography import PhaseShifting
from dfa_cli.devices.opu.readout.ideal import Ideal
from dfa_cli.devices.opu.readout.intensity import Intensity
from dfa_cli.devices.opu.readout.off_axis import OffAxis
from dfa_cli.devices.opu.readout.row import Row
from dfa_cli.devices.opu.readout.statistical import Statistical

__all__ = [
    "OPU",
    "Auto",
    "Bitplanes",
    "Budget",
    "Camera",
    "Dense",
    "Dithered",
    "DitheredTwoScales",
    "Drift",
    "Float",
    "FrameTime",
    "Ideal",
    "Intensity",
    "Laser",
    "Limits",
    "OffAxis",
    "PhaseShifting",
    "Procedural",
    "Row",
    "Sign",
    "Statistical",
    "Structured",
    "Ternary",
    "TwoScales",
    "noise_budget",
]
