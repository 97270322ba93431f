"""A student in the forms that other programs load.

The pipeline calls `exporter.export_student`: it takes a student's folder and
leaves the SavedModel, the TFLite files and MediaPipe's bundles in RUN/export,
with `exports.json` about them. `forms` tells how a form comes to be and has the
table of them. Before it, `selection.calibrate` leaves the temperature there.
`forms.exported_forms` opens what is there again, `opened.ask_forms` asks it.
"""
