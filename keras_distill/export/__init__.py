"""A student in the forms that other programs load.

The pipeline calls `exporter.export_student`: it takes a student's folder and
leaves the SavedModel, the TFLite files and MediaPipe's bundles in RUN/export,
with `exports.json` about them. Before it, `selection.calibrate` leaves the
temperature there. `opened.exported_forms` opens what is there again, and
`opened.ask_forms` asks it. `forms.LITE_FORMS` is the table of the files.
"""
