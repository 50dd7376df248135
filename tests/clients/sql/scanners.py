"""DuckDB would fetch the extensions that read other databases from the network; they are installed from packages instead."""

import glob
import importlib.util
import os

import duckdb


def install_scanners():
    with duckdb.connect() as database:
        for name in ("sqlite", "postgres"):
            package = os.path.dirname(importlib.util.find_spec(f"duckdb_extension_{name}_scanner").origin)
            (file,) = glob.glob(os.path.join(package, "extensions", "*", f"{name}_scanner.duckdb_extension"))
            database.execute(f"INSTALL '{file}'")
