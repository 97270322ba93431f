"""What a student costs beside other models: the paper's table 2.

`measure.measure(run, settings)` takes a finished run with exports and returns
the content of `benchmark.json`. Models are opened and timed in processes of
their own (`worker.Worker`), the teacher's apart from the student's.
"""
