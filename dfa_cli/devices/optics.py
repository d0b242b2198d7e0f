"""Sizes, speed and power of the optical hardware that is modelled.

`dfa bench` reads this file, so it must not import torch. `POWER_WATTS` is the power of LightOn's optical
processing unit (Brossollet et al. 2021, arXiv 2107.11814). docs/opu.md names the sources of the other numbers.
"""

from __future__ import annotations

MIRRORS = 1140 * 912  # on the micromirror device
PIXELS = 1920 * 1080  # on the camera
FRAME_SECONDS = 500e-6
POWER_WATTS = 30.0
