//! The line that each tool wants for the rows at a URL. `docs/bi/README.md` tells more of each.

use crate::formats::Format;

/// A tool that reads a URL.
pub(super) struct Tool {
    pub(super) name: &'static str,
    /// What it reads best.
    pub(super) format: Format,
    pub(super) line: fn(&str) -> String,
}

pub(super) const TOOLS: &[Tool] = &[
    Tool { name: "curl", format: Format::Csv, line: |url| format!("curl --fail --compressed '{url}?last=P7D'") },
    Tool { name: "Excel", format: Format::Csv, line: |url| format!("{url}?last=P7D&bom=true") },
    Tool {
        name: "Power BI",
        format: Format::Csv,
        line: |url| {
            format!(
                "Table.PromoteHeaders(Csv.Document(Web.Contents(\"{url}\", [Query = [last = \"P7D\"]]), [Encoding = 65001]))"
            )
        },
    },
    Tool { name: "Google Sheets", format: Format::Csv, line: |url| format!("=IMPORTDATA(\"{url}?last=P7D\")") },
    Tool {
        name: "Grafana (Infinity)",
        format: Format::Json,
        line: |url| format!("{url}?start=${{__from:date:iso}}&end=${{__to:date:iso}}"),
    },
    Tool {
        name: "pandas",
        format: Format::Csv,
        line: |url| format!("pandas.read_csv(\"{url}?last=P7D\", parse_dates=[\"start_time\", \"end_time\"])"),
    },
    Tool {
        name: "polars",
        format: Format::Csv,
        line: |url| format!("polars.read_csv(\"{url}?last=P7D\", try_parse_dates=True)"),
    },
    Tool {
        name: "DuckDB",
        format: Format::Parquet,
        line: |url| format!("SELECT * FROM read_parquet('{url}?last=P7D');"),
    },
    Tool { name: "R", format: Format::Csv, line: |url| format!("read.csv(\"{url}?last=P7D\")") },
    Tool { name: "jq", format: Format::Jsonl, line: |url| format!("curl --fail --silent '{url}?last=P7D' | jq .") },
];
