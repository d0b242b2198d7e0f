"""The commands of the shell, one file each: options in, one call, exit code out."""
