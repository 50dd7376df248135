"""Runs a block of the documents and prints what it left: recipe.py python|sql FILE.

A block of Python leaves `rows`, or a pipeline of dlt; one of SQL the answer of its last statement."""

import json
import runpy
import sys

import duckdb

from door import install_httpfs, leave


def of_frame(rows):
    names = list(getattr(rows, "column_names", rows.columns))
    if "sent_count" not in names or "phone_number" not in names:
        return {"columns": names, "rows": len(rows)}
    counts, phone = [column.to_pylist() if hasattr(column, "to_pylist") else column.to_list() for column in (rows["sent_count"], rows["phone_number"])]
    return {"columns": names, "rows": len(rows), "sent_count": sum(counts), "phone": str(phone[0])}


def of_pipeline(pipeline):
    with pipeline.sql_client() as client:
        table = client.make_qualified_table_name("phone_number_metrics")
        with client.execute_query(
            f"SELECT cust_space_id, phone_number, epoch_ms(start_time), sent_count, delivered_count, finality, "
            f"epoch_ms(fetched_at) FROM {table} ORDER BY ALL"
        ) as cursor:
            kept = [list(row) for row in cursor.fetchall()]
        with client.execute_query(f"DESCRIBE {table}") as cursor:
            kinds = {row[0]: row[1] for row in cursor.fetchall()}
    counts = pipeline.last_trace.last_normalize_info.row_counts
    return {"kept": kept, "kinds": kinds, "loaded": counts.get("phone_number_metrics", 0)}


def python(file):
    names = runpy.run_path(file, run_name="recipe")
    return of_pipeline(names["pipeline"]) if "pipeline" in names else of_frame(names["rows"])


def sql(file):
    with open(file, encoding="utf-8") as text:
        answer = duckdb.connect().execute(text.read())
    columns = [column[0] for column in answer.description]
    rows = answer.fetchall()
    if "sent_count" not in columns:
        return {"columns": columns, "rows": len(rows)}
    at = columns.index("sent_count")
    return {"columns": columns, "rows": len(rows), "sent_count": sum(row[at] for row in rows)}


def main(language, file):
    install_httpfs()
    print(json.dumps({"python": python, "sql": sql}[language](file)))


main(*sys.argv[1:])
leave()
