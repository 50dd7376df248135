//! The line that each tool wants for the rows at a URL. `docs/bi/README.md` tells more of each.

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
        name: "DuckDB",
        format: Format::Parquet,
        line: |url, _| format!("SELECT * FROM read_parquet('{url}?last=P7D');"),
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
