"""Figures of a comparison: learning curves, bars, and a metric against a key; timelines of stages."""
