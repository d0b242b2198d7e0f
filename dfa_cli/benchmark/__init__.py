"""How long a projection takes, on this machine and on the modelled optics."""
