"""`dfa sweep`: many runs, none twice and none lost.

sweep.py        from the words to the exit code
plan.py         every job composed, equal ones merged, finished ones found on disk
specs.py        the jobs written down, as they will run
supervisor.py   follows the jobs by what they write to disk; grid.py and search.py say which jobs there are
worker.py       the process in which Hydra's launchers run the jobs
task.py         what runs for each job, in whatever process
notes.py        what a job leaves that has no record of its own
states.py       the jobs' states, read from what they write
display.py      what is shown meanwhile
"""
