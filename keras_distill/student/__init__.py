"""The student: a small BiLSTM that learns from the teacher's logits.

`embeddings.write_vocabulary` chooses its words and their vectors,
`training.train_students` and `training.train_baselines` train it: they take
a run folder with a transfer set and leave `model.keras`, `vocab.txt`,
`labels.txt`, `text.json`, `history.csv` and `training.json`, once for each
seed. `predictor.StudentPredictor` answers texts with what they leave.

A new student is a kind in `kinds.py`, a new objective a loss in
`losses.py`: `Model.compile` and `Model.fit` do the rest, with the callbacks
of `callbacks.py` and `checkpoint.py`.
"""
