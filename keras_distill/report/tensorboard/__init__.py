"""What TensorBoard shows of a run beside the curves of its trainings."""
