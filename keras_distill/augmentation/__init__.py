"""New unlabelled text from old: masking, POS replacement, n-grams, and more.

`generate.augment_file` makes a folder of augmented text from a file of
examples, in the two passes of `tagged` and `variants`, and beside it those of
`neighbours` and `joining`; `mining.mine_file` makes new pairs;
`read_augmented` streams a folder.
"""
