"""`dfa sweep`: Hydra's multirun with a memory.

command.py   from the overrides to the exit code
plan.py      every job composed, equal ones merged, finished ones found on disk
engine.py    the process in which Hydra and its launchers run the jobs
job.py       what runs for each job, in whatever process
claims.py    no two processes run the same configuration at once
watch.py     the jobs' states, read from what they write
display.py   what is shown meanwhile
"""
