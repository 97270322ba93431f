"""Distil a fine-tuned BERT into a small BiLSTM: `keras_distill.train`."""

import sys

from keras_distill.train import main

if __name__ == "__main__":
    sys.exit(main())
