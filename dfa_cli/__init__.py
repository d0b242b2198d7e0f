"""Train neural networks without backpropagation, with the error projected by (simulated) light."""

__version__ = "0.1.0"
