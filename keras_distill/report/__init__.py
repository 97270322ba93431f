"""What a run came to: numbers, table, model card and pictures.

The pipeline calls `results.write_report`: it takes a run folder with all but
the report and leaves `results.json`, the model card, the pictures and
TensorBoard's pages. Called again, as after an export, it makes them anew.
`table.results_table` shows the results on a terminal.
"""
