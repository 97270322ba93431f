"""The student: its text, its model and its training."""
