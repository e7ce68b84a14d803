"""Files that anybody may have made, and files that nobody may see half-written.

Doors: whole (bounded regular files in, whole files out), bounded (files of a run directory), json_documents, csv_text,
migrations.
Migrations give what an older version wrote the meaning that it had then.
What the files mean is for results, profile and training to say.
"""
