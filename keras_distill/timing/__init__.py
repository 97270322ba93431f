"""What a student costs, side by side with other models (paper, table 2)."""
