"""The search: KerasTuner picks the student on a run's transfer set.

tune.py calls `command.tune`. It takes a run that has a transfer set and a
vocabulary, tries students on it (`search.py` holds the loop, `executor.py` the
processes), and leaves `RUN/tuning` and, if `decision.py` finds it worth that or
it is told to, the best student in place of the run's own. The report reads
`records.tuning_facts`.
"""
