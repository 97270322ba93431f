"""The transfer set: texts with the teacher's logits, as records in shards.

`plan.plan_run` deals the texts of `data/` and `augmented/` to shards, which
`labeller.Labeller` has a teacher label, whatever that is, and
`crew.label_works` the actors of a Ray cluster (`actor`); `record` writes and
reads the shards, and `manifest.Manifest` says what is there, without
TensorFlow.
"""
