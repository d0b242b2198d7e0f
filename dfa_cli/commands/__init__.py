"""Defines the commands of the shell, one file each: a command reads its options and calls one function."""
