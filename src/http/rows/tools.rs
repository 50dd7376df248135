//! The line that each tool wants for the rows at a URL. `docs/bi` tells more of each.

use crate::domain::dataset::{Dataset, Field, Kind};
use crate::formats::Format;

/// A tool that reads a URL.
pub(super) struct Tool {
    pub(super) name: &'static str,
    /// What it reads best.
    pub(super) format: Format,
    pub(super) line: fn(&str, Dataset) -> String,
}

pub(super) const TOOLS: &[Tool] = &[
    Tool { name: "curl", format: Format::Csv, line: |url, _| format!("curl --fail --compressed '{url}?last=P7D'") },
    Tool { name: "Excel", format: Format::Csv, line: |url, _| format!("{url}?last=P7D&bom=true") },
    Tool { name: "LibreOffice", format: Format::Csv, line: |url, _| format!("{url}?last=P7D") },
    Tool {
        name: "Power BI",
        format: Format::Csv,
        line: |url, _| {
            format!(
                "Table.PromoteHeaders(Csv.Document(Web.Contents(\"{url}\", [Query = [last = \"P7D\"]]), [Encoding = 65001]))"
            )
        },
    },
    Tool { name: "Google Sheets", format: Format::Csv, line: |url, _| format!("=IMPORTDATA(\"{url}?last=P7D\")") },
    Tool { name: "Tableau", format: Format::Json, line: |url, _| format!("{url}?last=P7D") },
    Tool {
        name: "Grafana (Infinity)",
        format: Format::Json,
        line: |url, _| format!("{url}?start=${{__from:date:iso}}&end=${{__to:date:iso}}"),
    },
    Tool {
        name: "pandas",
        format: Format::Parquet,
        line: |url, _| format!("rows = pandas.read_parquet(\"{url}?last=P7D\")"),
    },
    Tool {
        name: "polars",
        format: Format::Parquet,
        line: |url, _| format!("rows = polars.read_parquet(\"{url}?last=P7D\")"),
    },
    Tool {
        name: "pyarrow",
        format: Format::Parquet,
        line: |url, _| {
            format!("rows = pyarrow.parquet.read_table(io.BytesIO(urllib.request.urlopen(\"{url}?last=P7D\").read()))")
        },
    },
    Tool {
        name: "dlt",
        format: Format::Parquet,
        line: |url, dataset| {
            format!(
                "dlt.pipeline(\"weir\", destination=\"duckdb\").run(pandas.read_parquet(\"{url}?last=P7D\"), \
                 table_name=\"{}\", write_disposition=\"replace\")",
                dataset.as_str()
            )
        },
    },
    Tool {
        name: "DuckDB",
        format: Format::Parquet,
        line: |url, _| format!("SELECT * FROM read_parquet('{url}?last=P7D');"),
    },
    Tool {
        name: "Superset, Metabase",
        format: Format::Parquet,
        line: |url, dataset| {
            format!("CREATE VIEW {} AS SELECT * FROM read_parquet('{url}?last=P7D');", dataset.as_str())
        },
    },
    Tool {
        name: "R",
        format: Format::Csv,
        line: |url, dataset| {
            let texts: Vec<_> = ids(dataset).map(|name| format!("{name} = \"character\"")).collect();
            format!("rows <- read.csv(\"{url}?last=P7D\", colClasses = c({}))", texts.join(", "))
        },
    },
    Tool { name: "jq", format: Format::Jsonl, line: |url, _| format!("curl --fail --silent '{url}?last=P7D' | jq .") },
];

/// The columns of text that may be digits alone, of which a tool that guesses would make numbers.
fn ids(dataset: Dataset) -> impl Iterator<Item = &'static str> {
    let is_id =
        |field| matches!(field, Field::CustSpaceId | Field::PhoneNumber | Field::AppId | Field::Entity | Field::Name);
    let columns = dataset.columns().iter().filter(move |column| column.kind == Kind::Text && is_id(column.field));
    columns.map(|column| column.name)
}
