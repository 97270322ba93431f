"""New unlabelled text from old: masking, POS replacement, n-grams."""
