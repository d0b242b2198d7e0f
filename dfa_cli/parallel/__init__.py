"""Parallel runs divide the blocks of a model, or the rows of a batch, over several processes."""
