"""What a run leaves on disk: how it is written, found, read and selected."""
