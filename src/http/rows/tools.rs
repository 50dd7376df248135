//! The line that each tool wants for the rows at a URL. `docs/bi` tells more of each.

use crate::domain::dataset::{Dataset, Field, Kind};
use crate::formats::Format;

/// What totals are asked with as well: without it they would be a single row.
const OF_TOTALS: [(&str, &str); 2] = [("period", "DAY"), ("by", "CHANNEL")];

fn more(dataset: Dataset) -> impl Iterator<Item = (&'static str, &'static str)> {
    OF_TOTALS.into_iter().filter(move |_| dataset == Dataset::PhoneNumberTotals)
}

/// A range of a dataset.
fn of(url: &str, range: &str, dataset: Dataset) -> String {
    let more: Vec<_> = more(dataset).map(|(name, value)| format!("&{name}={value}")).collect();
    format!("{url}?{range}{}", more.concat())
}

fn week(url: &str, dataset: Dataset) -> String {
    of(url, "last=P7D", dataset)
}

/// A tool that reads a URL.
pub(super) struct Tool {
    pub(super) name: &'static str,
    /// What it reads best.
    pub(super) format: Format,
    pub(super) line: fn(&str, Dataset) -> String,
}

pub(super) const TOOLS: &[Tool] = &[
    Tool {
        name: "curl",
        format: Format::Csv,
        line: |url, dataset| format!("curl --fail --compressed '{}'", week(url, dataset)),
    },
    Tool { name: "Excel", format: Format::Csv, line: |url, dataset| week(url, dataset) + "&bom=true" },
    Tool { name: "LibreOffice", format: Format::Csv, line: week },
    Tool {
        name: "Power BI",
        format: Format::Csv,
        line: |url, dataset| {
            let more: Vec<_> = more(dataset).map(|(name, value)| format!(", {name} = \"{value}\"")).collect();
            let more = more.concat();
            format!(
                "Table.PromoteHeaders(Csv.Document(Web.Contents(\"{url}\", [Query = [last = \"P7D\"{more}]]), \
                 [Encoding = 65001]))"
            )
        },
    },
    Tool {
        name: "Google Sheets",
        format: Format::Csv,
        line: |url, dataset| format!("=IMPORTDATA(\"{}\")", week(url, dataset)),
    },
    Tool { name: "Tableau", format: Format::Json, line: week },
    Tool {
        name: "Grafana (Infinity)",
        format: Format::Json,
        line: |url, dataset| of(url, "start=${__from:date:iso}&end=${__to:date:iso}", dataset),
    },
    Tool {
        name: "pandas",
        format: Format::Parquet,
        line: |url, dataset| format!("rows = pandas.read_parquet(\"{}\")", week(url, dataset)),
    },
    Tool {
        name: "polars",
        format: Format::Parquet,
        line: |url, dataset| format!("rows = polars.read_parquet(\"{}\")", week(url, dataset)),
    },
    Tool {
        name: "pyarrow",
        format: Format::Parquet,
        line: |url, dataset| {
            let url = week(url, dataset);
            format!("rows = pyarrow.parquet.read_table(io.BytesIO(urllib.request.urlopen(\"{url}\").read()))")
        },
    },
    Tool {
        name: "dlt",
        format: Format::Parquet,
        line: |url, dataset| {
            format!(
                "dlt.pipeline(\"weir\", destination=\"duckdb\").run(pandas.read_parquet(\"{}\"), \
                 table_name=\"{}\", write_disposition=\"replace\")",
                week(url, dataset),
                dataset.as_str()
            )
        },
    },
    Tool {
        name: "DuckDB",
        format: Format::Parquet,
        line: |url, dataset| format!("SELECT * FROM read_parquet('{}');", week(url, dataset)),
    },
    Tool {
        name: "Superset, Metabase",
        format: Format::Parquet,
        line: |url, dataset| {
            let url = week(url, dataset);
            format!("CREATE VIEW {} AS SELECT * FROM read_parquet('{url}');", dataset.as_str())
        },
    },
    Tool {
        name: "R",
        format: Format::Csv,
        line: |url, dataset| {
            let texts: Vec<_> = ids(dataset).map(|name| format!("{name} = \"character\"")).collect();
            format!("rows <- read.csv(\"{}\", colClasses = c({}))", week(url, dataset), texts.join(", "))
        },
    },
    Tool {
        name: "jq",
        format: Format::Jsonl,
        line: |url, dataset| format!("curl --fail --silent '{}' | jq .", week(url, dataset)),
    },
];

/// The columns of text that may be digits alone, of which a tool that guesses would make numbers.
fn ids(dataset: Dataset) -> impl Iterator<Item = &'static str> {
    let is_id =
        |field| matches!(field, Field::CustSpaceId | Field::PhoneNumber | Field::AppId | Field::Entity | Field::Name);
    let columns = dataset.columns().iter().filter(move |column| column.kind == Kind::Text && is_id(column.field));
    columns.map(|column| column.name)
}
