"""Runs a block of the documents in Python and prints the sum of the messages in the `rows` that it left: recipe.py FILE."""

import json
import runpy
import sys

from scanners import install_scanners

install_scanners()
rows = runpy.run_path(sys.argv[1], run_name="recipe")["rows"]
kinds = {name: str(rows[name].dtype) for name in rows.columns}
print(json.dumps({"rows": len(rows), "sent_count": int(rows["sent_count"].sum()), "types": kinds}))
