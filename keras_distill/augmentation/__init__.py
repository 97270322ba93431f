"""New unlabelled text from old: masking, POS replacement, n-grams.

`generate.augment_file` makes a folder of augmented text from a file of
examples, in the two passes of `tagged` and `variants`; `read_augmented`
streams it.
"""
