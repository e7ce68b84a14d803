"""Files that anybody may have made, and files that nobody may see half-written.

Doors: whole (bounded regular files in, whole files out), bounded (files of a run directory), json_documents, csv_text,
migrations (of what older versions wrote). What the files mean is for results, profile and training to say.
"""
