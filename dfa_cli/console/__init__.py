"""How numbers, paths and tables are shown to people; nothing here knows of runs."""
