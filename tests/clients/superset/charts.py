"""Superset on archives: charts.py RANGES URL SCHEMA [URL SCHEMA].

Adds each archive as a database and a dataset on its messages, and asks for charts as a browser does: messages by day, over the
ranges, each of a time column. Prints a line of JSON for each archive: what Superset knows of its tables and columns, and the charts."""

import datetime
import json
import logging
import os
import sys

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

    def archive(self, url, schema, ranges):
        database = self.ask("POST", "database/", {"database_name": f"weir in {schema}", "sqlalchemy_uri": url})["id"]
        tables = self.ask("GET", f"database/{database}/tables/?q=(schema_name:{schema})")["result"]
        dataset = self.ask("POST", "dataset/", {"database": database, "schema": schema, "table_name": "phone_number_metrics"})["id"]
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
    """A day of a chart: text from SQLite, a number from PostgreSQL."""
    if not isinstance(day, str):
        return int(day)
    return int(datetime.datetime.fromisoformat(day).replace(tzinfo=datetime.timezone.utc).timestamp() * 1_000)


def main(ranges, *archives):
    app = create_app()
    furnish(app)
    asker = Asker(app)
    for url, schema in zip(archives[::2], archives[1::2]):
        print(json.dumps(asker.archive(url, schema, json.loads(ranges))))


main(*sys.argv[1:])
