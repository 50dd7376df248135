"""The cells of the first sheet of a flat OpenDocument file, as JSON: rows of [type, value]. cells.py FILE"""

import json
import sys
import xml.etree.ElementTree as tree

OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"


def cell(one):
    kind = one.get(f"{OFFICE}value-type")
    value = {"float": "value", "percentage": "value", "date": "date-value", "boolean": "boolean-value"}.get(kind)
    text = "".join(one.find(f"{TEXT}p").itertext()) if kind == "string" else one.get(f"{OFFICE}{value}") if value else None
    return [[kind, text]] * int(one.get(f"{TABLE}number-columns-repeated", "1"))


def main(file):
    sheet = next(tree.parse(file).iter(f"{TABLE}table"))
    rows = [[part for one in row.iter(f"{TABLE}table-cell") for part in cell(one)] for row in sheet.iter(f"{TABLE}table-row")]
    print(json.dumps([row for row in rows if any(kind for kind, _ in row)]))


main(*sys.argv[1:])
