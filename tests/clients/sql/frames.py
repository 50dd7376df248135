"""Reads the tables of an archive by every client and prints what each sees, a line of JSON for each: frames.py URL.

URL is sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST:PORT/DATABASE, as SQLAlchemy has it."""

import json
import pathlib
import sys

import duckdb
import pandas
import sqlalchemy
from sqlalchemy import types

sys.path.append(str(pathlib.Path(__file__).parent.parent))

from scanners import install_scanners
from plain import plain

TABLES = ("phone_number_metrics", "operation_distributions", "phone_number_daily", "measurements", "collected", "restated")


def kind(column):
    """The door's name of a reflected type."""
    known = [(types.DateTime, "timestamp"), (types.Date, "date"), (types.Boolean, "boolean"), (types.BigInteger, "int64")]
    known += [(types.Float, "float64"), (types.String, "text")]
    return next((name for own, name in known if isinstance(column.type, own)), repr(column.type))


def of_pandas(frame):
    values = {}
    for name in frame.columns:
        is_day = name == "date"
        values[name] = [value.date().isoformat() if is_day and hasattr(value, "date") and value is not pandas.NaT else plain(value) for value in frame[name]]
    kinds = {name: str(frame[name].dtype) for name in frame.columns}
    return kinds, [dict(zip(values, row)) for row in zip(*values.values())]


def tell(client, table, kinds, rows, **more):
    print(json.dumps({"client": client, "table": table, "types": kinds, "rows": rows, **more}))


def by_sqlalchemy(engine, schema):
    seen = sqlalchemy.inspect(engine)
    names = {"tables": sorted(seen.get_table_names(schema)), "views": sorted(seen.get_view_names(schema))}
    for name in TABLES:
        table = sqlalchemy.Table(name, sqlalchemy.MetaData(), schema=schema, autoload_with=engine)
        with engine.connect() as connection:
            rows = [{key: plain(value) for key, value in row._mapping.items()} for row in connection.execute(sqlalchemy.select(table))]
        tell("SQLAlchemy", name, {column.name: kind(column) for column in table.columns}, rows, **names)
        tell("pandas, a table", name, *of_pandas(pandas.read_sql_table(name, engine, schema=schema)))
        tell("pandas, a statement", name, *of_pandas(pandas.read_sql(sqlalchemy.select(table), engine)))


def by_duckdb(address):
    install_scanners()
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    kind, place = ("sqlite", address.removeprefix("sqlite:///")) if address.startswith("sqlite") else ("postgres", address.replace("+psycopg", ""))
    database.execute(f"ATTACH '{place}' AS archive (TYPE {kind}, READ_ONLY)")
    prefix = "archive" if kind == "sqlite" else "archive.weir"
    for name in TABLES:
        told = database.execute(f"DESCRIBE {prefix}.{name}").fetchall()
        kinds = {row[0]: row[1] for row in told}
        # An instant of PostgreSQL is one with a zone, which Python gets from DuckDB only with another package.
        of = [f"epoch_ms({column}) AS {column}" if own.startswith("TIMESTAMP") else column for column, own in kinds.items()]
        rows = database.execute(f"SELECT {', '.join(of)} FROM {prefix}.{name}").fetchall()
        tell("DuckDB", name, kinds, [dict(zip(kinds, map(plain, row))) for row in rows])


def main(address):
    by_sqlalchemy(sqlalchemy.create_engine(address), None if address.startswith("sqlite") else "weir")
    by_duckdb(address)


main(*sys.argv[1:])
