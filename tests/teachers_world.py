"""Imported before TensorFlow: makes `tf.keras` tf_keras in this process."""

import os

from keras_distill.teacher.runtime import prepare_environment

prepare_environment("float32")
os.environ["HF_HUB_OFFLINE"] = "1"
