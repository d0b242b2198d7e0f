"""How people read numbers, paths and tables; nothing here knows of runs."""
