"""Reads one question by every client at once, before each of several gateways, as often as it is told to: moments.py QUERY.

A line of its input is a list of addresses. The line that it prints has for each of them what each client did: it raised, or it took
rows, whose number and digest are told."""

import concurrent.futures
import csv
import hashlib
import io
import json
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import urllib.request

import duckdb
import pandas
import polars
import pyarrow.parquet
import requests

from door import fetch, install_httpfs, leave

sys.path.append(str(pathlib.Path(__file__).parent.parent))

from plain import plain

COLUMNS = ["cust_space_id", "phone_number", "start_time", "sent_count", "delivered_count", "finality"]
TEXTS = {"cust_space_id": "string", "phone_number": "string"}


class Failed(Exception):
    """A program has ended with this code."""


def program(*arguments):
    done = subprocess.run(arguments, capture_output=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{arguments[0]} {done.returncode}")
    return done.stdout


def of_frame(frame):
    """The rows of pandas or polars."""
    return zip(*[frame[name].to_list() for name in COLUMNS])


def of_objects(rows):
    return [[row[name] for name in COLUMNS] for row in rows]


def of_csv(text):
    return of_objects(csv.DictReader(io.StringIO(text.decode(), newline="")))


def of_lines(lines):
    return of_objects(json.loads(line) for line in lines)


def duck(function, url, more=""):
    database = duckdb.connect()
    database.execute("SET http_retries = 0")
    return database.execute(f"SELECT {', '.join(COLUMNS)} FROM {function}('{url}'{more})").fetchall()


def curl(url, *more):
    return program("curl", "--fail", "--silent", "--http1.1", *more, url)


class R:
    """One that goes on: it reads an address a line."""

    def __init__(self):
        file = str(pathlib.Path(__file__).parent / "moments.r")
        self.process = subprocess.Popen(["Rscript", file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def read(self, url):
        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, "rows.csv")
            self.process.stdin.write(f"{url}\t{file}\n")
            self.process.stdin.flush()
            told = self.process.stdout.readline().strip()
            if told != "took rows":
                raise Failed(f"R {told}")
            with open(file, "rb") as text:
                return of_csv(text.read())


idle = queue.SimpleQueue()


def by_r(url):
    try:
        r = idle.get_nowait()
    except queue.Empty:
        r = R()
    try:
        return r.read(url)
    finally:
        idle.put(r)


def clients(base, query):
    """What a reader of `docs/bi` would run, but that DuckDB does not ask again: that is half a minute of waiting for the same."""
    csv_, json_, jsonl, parquet = [f"{base}/rows/phone_number_metrics.{ending}?{query}" for ending in ("csv", "json", "jsonl", "parquet")]
    types = ", types = {'cust_space_id': 'VARCHAR', 'phone_number': 'VARCHAR'}"
    return {
        "pandas, CSV": lambda: of_frame(pandas.read_csv(csv_, dtype=TEXTS, parse_dates=["start_time"])),
        "pandas, JSON lines": lambda: of_frame(pandas.read_json(jsonl, lines=True, dtype=TEXTS)),
        "pandas, Parquet": lambda: of_frame(pandas.read_parquet(parquet)),
        "polars, CSV": lambda: of_frame(polars.read_csv(fetch(csv_), schema_overrides={"phone_number": polars.String}, try_parse_dates=True)),
        "polars, Parquet": lambda: of_frame(polars.read_parquet(parquet)),
        "pyarrow, Parquet": lambda: of_objects(pyarrow.parquet.read_table(io.BytesIO(fetch(parquet))).to_pylist()),
        "DuckDB, CSV": lambda: duck("read_csv", csv_, types),
        "DuckDB, JSON lines": lambda: duck("read_json", jsonl, ", format = 'newline_delimited'"),
        "DuckDB, Parquet": lambda: duck("read_parquet", parquet),
        "requests, JSON": lambda: of_objects(get(json_).json()["rows"]),
        "requests, JSON lines": lambda: of_lines(list(get(jsonl, stream=True).iter_lines())),
        "urllib, JSON": lambda: of_objects(json.loads(urllib.request.urlopen(json_).read())["rows"]),
        "curl, CSV": lambda: of_csv(curl(csv_)),
        "curl, compressed JSON": lambda: of_objects(json.loads(curl(json_, "--compressed"))["rows"]),
        "jq, JSON lines": lambda: of_lines(program("bash", "-c", f"set -o pipefail; curl --fail --silent '{jsonl}' | jq --compact-output .").splitlines()),
        "R, CSV": lambda: by_r(csv_),
    }


def get(url, **more):
    answer = requests.get(url, timeout=60, **more)
    answer.raise_for_status()
    return answer


def moment(value):
    return plain(pandas.Timestamp(value)) if isinstance(value, str) else plain(value)


def ask(read):
    try:
        rows = list(read())
    except Exception as error:
        return f"raised {error if isinstance(error, Failed) else type(error).__name__}"
    digest = hashlib.sha256()
    for channel, phone, start, sent, delivered, finality in rows:
        digest.update(f"{channel},{phone},{moment(start)},{sent},{delivered},{finality}\n".encode())
    return f"took {len(rows)} rows, {digest.hexdigest()}"


def main(query):
    install_httpfs()
    # All of them at once: a client that waits for another would not meet the same moment.
    with concurrent.futures.ThreadPoolExecutor(256) as pool:
        for line in sys.stdin:
            asked = [clients(base, query) for base in json.loads(line)]
            told = [{name: pool.submit(ask, read) for name, read in one.items()} for one in asked]
            print(json.dumps([{name: outcome.result() for name, outcome in one.items()} for one in told]), flush=True)
    while not idle.empty():
        r = idle.get()
        r.process.stdin.close()
        r.process.wait()


main(*sys.argv[1:])
leave()
