"""Reads the rows of datasets by every client and prints each frame, types and values, in one form.

frames.py BASE QUESTIONS: questions are JSON, a list of datasets and their queries."""

import datetime
import io
import json
import pathlib
import sys

import duckdb
import pandas
import polars
import pyarrow
import pyarrow.csv
import pyarrow.parquet

sys.path.append(str(pathlib.Path(__file__).parent.parent))

from door import fetch, install_httpfs, leave, types
from plain import plain

UTC = datetime.timezone.utc
POLARS = {
    "text": polars.String,
    "timestamp": polars.Datetime("ms", "UTC"),
    "date": polars.Date,
    "int64": polars.Int64,
    "float64": polars.Float64,
    "boolean": polars.Boolean,
}
ARROW = {
    "text": pyarrow.string(),
    "timestamp": pyarrow.timestamp("ms", "UTC"),
    "date": pyarrow.date32(),
    "int64": pyarrow.int64(),
    "float64": pyarrow.float64(),
    "boolean": pyarrow.bool_(),
}
DUCKDB = {
    "text": "VARCHAR",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "date": "DATE",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "boolean": "BOOLEAN",
}
PANDAS = {"str": "text", "string": "text", "int64": "int64", "float64": "float64", "bool": "boolean"}


def named(known, kind):
    """The door's name of a client's type, or the client's own."""
    return {repr(own): name for name, own in known.items()}.get(repr(kind), repr(kind))


def of_pandas(frame):
    def kind(column):
        own = str(column.dtype)
        if own.startswith("datetime64"):
            return "timestamp" if own.endswith("UTC]") else "date"
        is_date = own == "object" and all(value is None or type(value) is datetime.date for value in column)
        return "date" if is_date else PANDAS.get(own, own)

    names = list(frame.columns)
    values = [[plain(value) for value in frame[name]] for name in names]
    # A column of instants without a zone is one of dates.
    days = {at for at, name in enumerate(names) if str(frame[name].dtype).startswith("datetime64[") and kind(frame[name]) == "date"}
    for at in days:
        values[at] = [None if ms is None else datetime.datetime.fromtimestamp(ms / 1_000, UTC).date().isoformat() for ms in values[at]]
    return [[name, kind(frame[name])] for name in names], [list(row) for row in zip(*values)]


def of_polars(frame):
    rows = [[plain(value) for value in row] for row in frame.rows()]
    return [[name, named(POLARS, kind)] for name, kind in frame.schema.items()], rows


def of_arrow(table):
    columns = [[plain(value) for value in column.to_pylist()] for column in table.columns]
    return [[field.name, named(ARROW, field.type)] for field in table.schema], [list(row) for row in zip(*columns)]


def of_duckdb(relation):
    kinds = {own: name for name, own in DUCKDB.items()}
    told = [[name, kinds.get(str(kind), str(kind))] for name, kind in zip(relation.columns, relation.types)]
    return told, [[plain(value) for value in row] for row in relation.fetchall()]


def clients(base, dataset, query):
    known = types(base, dataset)
    csv, jsonl, parquet = [f"{base}/rows/{dataset}.{ending}?{query}" for ending in ("csv", "jsonl", "parquet")]
    times = [name for name, kind in known.items() if kind in ("timestamp", "date")]
    texts = {name: "string" if kind == "text" else {"boolean": "bool"}.get(kind, kind) for name, kind in known.items() if name not in times}
    yield "pandas, Parquet", lambda: of_pandas(pandas.read_parquet(parquet))
    yield "pandas, CSV", lambda: of_pandas(pandas.read_csv(csv, dtype=texts, parse_dates=times))
    yield "polars, Parquet", lambda: of_polars(polars.read_parquet(parquet))
    yield "polars, a lazy Parquet", lambda: of_polars(polars.scan_parquet(parquet).collect())
    schema = {name: POLARS[kind] for name, kind in known.items()}
    yield "polars, CSV", lambda: of_polars(polars.read_csv(fetch(csv), schema=schema))
    loose = {name: polars.String if name in times else kind for name, kind in schema.items()}
    casts = [polars.col(name).str.to_date() if known[name] == "date" else polars.col(name).str.to_datetime(time_unit="ms", time_zone="UTC") for name in times]
    yield "polars, JSON lines", lambda: of_polars(polars.read_ndjson(fetch(jsonl), schema=loose).with_columns(casts))
    yield "pyarrow, Parquet", lambda: of_arrow(pyarrow.parquet.read_table(io.BytesIO(fetch(parquet))))
    convert = pyarrow.csv.ConvertOptions(column_types={name: ARROW[kind] for name, kind in known.items()}, strings_can_be_null=True)
    yield "pyarrow, CSV", lambda: of_arrow(pyarrow.csv.read_csv(io.BytesIO(fetch(csv)), convert_options=convert))
    columns = {name: DUCKDB[kind] for name, kind in known.items()}
    yield "DuckDB, Parquet", lambda: of_duckdb(duckdb.sql(f"SELECT * FROM read_parquet('{parquet}')"))
    yield "DuckDB, CSV", lambda: of_duckdb(duckdb.sql(f"SELECT * FROM read_csv('{csv}', types = {columns})"))
    yield "DuckDB, JSON lines", lambda: of_duckdb(duckdb.sql(f"SELECT * FROM read_json('{jsonl}', columns = {columns}, format = 'newline_delimited')"))


def main(base, questions):
    install_httpfs()
    duckdb.sql("SET TimeZone = 'UTC'")
    for dataset, query in json.loads(questions):
        for client, read in clients(base, dataset, query):
            told, rows = read()
            print(json.dumps({"client": client, "dataset": dataset, "query": query, "types": told, "rows": rows}))


main(*sys.argv[1:])
leave()
