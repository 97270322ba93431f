"""The search: KerasTuner picks the student on a run's transfer set."""
