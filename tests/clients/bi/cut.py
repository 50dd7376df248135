"""Reads a pull that breaks off, by every client at once: prints for each whether it raised, or how many rows it took.

cut.py BASE QUERY"""

import concurrent.futures
import json
import sys
import urllib.request

import duckdb
import pandas
import polars
from dlt.sources.helpers import requests

from door import fetch, install_httpfs, leave


def lines(url):
    with requests.get(url, stream=True) as answer:
        return list(answer.iter_lines())


def main(base, query):
    install_httpfs()
    csv, json_, jsonl = [f"{base}/rows/operation_distributions.{ending}?{query}" for ending in ("csv", "json", "jsonl")]
    clients = {
        "pandas, CSV": lambda: pandas.read_csv(csv),
        "pandas, JSON lines": lambda: pandas.read_json(jsonl, lines=True),
        "polars, CSV": lambda: polars.read_csv(fetch(csv)),
        "DuckDB, CSV": lambda: duckdb.connect().execute(f"SELECT * FROM read_csv('{csv}')").fetchall(),
        "requests, JSON lines": lambda: lines(jsonl),
        "urllib, JSON": lambda: json.loads(urllib.request.urlopen(json_).read())["rows"],
    }

    def ask(read):
        try:
            return len(read())
        except Exception as error:
            return f"raised {type(error).__name__}"

    with concurrent.futures.ThreadPoolExecutor(len(clients)) as pool:
        print(json.dumps(dict(zip(clients, pool.map(ask, clients.values())))))


main(*sys.argv[1:])
leave()
