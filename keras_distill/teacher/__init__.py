"""The teacher: a fine-tuned BERT, and the transfer set that it labels.

`finetune.make_teacher` takes data/ and leaves teacher/;
`label.label_transfer_set` takes the plan in transfer_set/inputs/ and leaves
the labelled shards and their manifest. Both run by `python -m
keras_distill.teacher`, in a process of their own: transformers switches
`tf.keras` to tf_keras for everyone, so nothing here but `source`, `members`
and `remote`, which has a Ray cluster label, may be imported in the student's
process.
"""
