"""The optical hardware that is modelled: sizes, speed and power. Free of torch, for `dfa bench`.

The power is that of LightOn's processing unit (Brossollet et al. 2021, arXiv 2107.11814); docs/opu.md names the other
sources.
"""

from __future__ import annotations

MIRRORS = 1140 * 912  # of the micromirror device
PIXELS = 1920 * 1080  # of the camera
FRAME_SECONDS = 500e-6
POWER_WATTS = 30.0
