"""The training loop and what it needs: batches, optimizer, evaluation, checkpoints. It works with any rule."""
