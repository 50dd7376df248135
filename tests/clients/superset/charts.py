"""Superset on archives, and on rows by DuckDB: charts.py RANGES SOURCES.

Adds each source as a database and a dataset on its messages, and asks for charts as a browser does: messages by day, over the
ranges, each of a time column. A source is its address, its schema, and of rows the statement that is the dataset; before that come
statements that make its file. Prints a line of JSON for each source: what Superset knows of its tables and columns, and the charts."""

import datetime
import glob
import importlib.util
import json
import logging
import os
import sys

import duckdb

logging.disable(logging.CRITICAL)
os.environ["SUPERSET_CONFIG_PATH"] = os.path.join(os.path.dirname(os.path.abspath(__file__)), "superset_config.py")

from superset.app import create_app

AXIS = {"columnType": "BASE_AXIS", "expressionType": "SQL", "label": "day", "sqlExpression": "start_time", "timeGrain": "P1D"}
QUERY = {
    "filters": [{"col": "granularity", "op": "==", "val": "DAILY"}],
    "metrics": [{"expressionType": "SQL", "sqlExpression": "SUM(sent_count)", "label": "sent"}],
    "columns": [AXIS],
    "extras": {"time_grain_sqla": "P1D"},
    "row_limit": 1000,
}


def furnish(app):
    """Superset's own tables, and a user."""
    with app.app_context():
        from flask_migrate import upgrade
        from superset.extensions import appbuilder

        upgrade()
        appbuilder.sm.sync_role_definitions()
        appbuilder.sm.add_user("admin", "a", "b", "admin@example.com", appbuilder.sm.find_role("Admin"), password="admin")


class Asker:
    """Whoever is logged in."""

    def __init__(self, app):
        self.client, self.headers = app.test_client(), {}
        user = {"username": "admin", "password": "admin", "provider": "db"}
        self.headers["Authorization"] = f"Bearer {self.ask('POST', 'security/login', user)['access_token']}"

    def ask(self, method, path, body=None):
        answer = self.client.open(f"/api/v1/{path}", method=method, json=body, headers=self.headers)
        if answer.status_code >= 300:
            sys.exit(f"{path}: {answer.status_code} {answer.text}")
        return answer.json

    def source(self, source, ranges):
        url, schema = source["url"], source["schema"]
        database = self.ask("POST", "database/", {"database_name": f"weir at {url}", "sqlalchemy_uri": url})["id"]
        tables = self.ask("GET", f"database/{database}/tables/?q=(schema_name:{schema})")["result"]
        of_statement = {"sql": source["dataset"]} if "dataset" in source else {}
        named = {"database": database, "schema": schema, "table_name": "phone_number_metrics", **of_statement}
        dataset = self.ask("POST", "dataset/", named)["id"]
        columns = self.ask("GET", f"dataset/{dataset}")["result"]["columns"]
        told = {
            "tables": sorted(table["value"] for table in tables),
            "columns": {column["column_name"]: [column["type"], column["is_dttm"]] for column in columns},
            "charts": [self.chart(dataset, column, span) for column, span in ranges],
        }
        # Superset's own database, where it is a file, takes each name of a table once.
        self.ask("DELETE", f"dataset/{dataset}")
        return told

    def chart(self, dataset, column, span):
        query = {**QUERY, "granularity": column, "time_range": span}
        body = {"datasource": {"id": dataset, "type": "table"}, "queries": [query], "result_format": "json", "result_type": "full"}
        (result,) = self.ask("POST", "chart/data", body)["result"]
        return {"sql": result["query"], "rows": [[milliseconds(row["day"]), row["sent"]] for row in result["data"]]}


def milliseconds(day):
    """A day of a chart: text from SQLite, a number from the others."""
    if not isinstance(day, str):
        return int(day)
    return int(datetime.datetime.fromisoformat(day).replace(tzinfo=datetime.timezone.utc).timestamp() * 1_000)


def make(file, statements):
    """A file of DuckDB. It would fetch its extension from the network; it is installed from a package instead."""
    package = os.path.dirname(importlib.util.find_spec("duckdb_extension_httpfs").origin)
    (extension,) = glob.glob(os.path.join(package, "extensions", "*", "httpfs.duckdb_extension"))
    with duckdb.connect(file) as database:
        database.execute(f"INSTALL '{extension}'")
        database.execute(statements)


def main(ranges, sources):
    app = create_app()
    furnish(app)
    asker = Asker(app)
    for source in json.loads(sources):
        if "file" in source:
            make(source["file"], source["statements"])
        print(json.dumps(asker.source(source, json.loads(ranges))))


main(*sys.argv[1:])
