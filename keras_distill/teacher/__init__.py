"""The teacher: fine-tuning a BERT and labelling the transfer set with it.

Nothing here may be imported in the student's process: transformers switches
`tf.keras` to tf_keras for everyone. Run `python -m keras_distill.teacher`.
"""
