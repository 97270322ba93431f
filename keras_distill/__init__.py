"""Distil a fine-tuned BERT into a small Keras BiLSTM (Tang et al. 2019)."""

__version__ = "0.2.0"
