"""What a run came to: numbers, table, model card and pictures."""
