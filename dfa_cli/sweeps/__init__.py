"""Runs many configurations, none twice and none lost.

sweep.py        the command, from its words to the exit code
plan.py         merges equal jobs and finds those that are done
dry_run.py      tells what would be run, with the time and the disk space of estimate.py
specs.py        writes the jobs down as they will run
supervisor.py   starts the worker and follows the jobs by the files they write; grid.py and search.py choose the jobs
worker.py       the process in which one of Hydra's launchers runs the jobs
task.py         runs one job, in whatever process
notes.py        the note that a job without a record of its own leaves
states.py       the state of a job, read from its record or its note
display.py      shows the progress
"""
