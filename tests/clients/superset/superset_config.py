"""Superset as the test runs it: its own database at home, and a file of SQLite may be a source.

Whoever runs Superset for others thinks twice about the latter: a file is read with the rights of the server."""

import os

SECRET_KEY = "only for a test on this machine, and told to everybody"
SQLALCHEMY_DATABASE_URI = f"sqlite:///{os.environ['HOME']}/superset.db"
PREVENT_UNSAFE_DB_CONNECTIONS = False
WTF_CSRF_ENABLED = False
TALISMAN_ENABLED = False
FILTER_STATE_CACHE_CONFIG = EXPLORE_FORM_DATA_CACHE_CONFIG = {"CACHE_TYPE": "SimpleCache"}
