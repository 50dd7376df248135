//! `weir query`: one query without a server.

use std::io::{IsTerminal, Read};
use std::path::Path;

use async_graphql::{Request, Variables};

use super::rows::{self, Format};
use super::{ConfigFile, Failure, block_on, gateway, output};
use crate::config::Config;
use crate::domain::Caller;

/// Run one query without a server and print its answer.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  weir query --config weir.toml '{ channels { custSpaceId account } }'
  weir query --config weir.toml --format csv examples/queries/02-phone-number-metrics.graphql
  weir query --config weir.toml --variables '{\"appId\": \"app-one\"}' --format table - < query.graphql

json prints the whole response. table and csv print one row for each item of each root field's lists, nested
objects as columns with dots; several root fields make several tables with an empty line between them.")]
pub struct Args {
    /// Which accounts to ask.
    #[command(flatten)]
    pub config: ConfigFile,
    /// The query itself, a file that holds it, or - for stdin (also without it).
    #[arg(value_name = "QUERY")]
    pub query: Option<String>,
    /// The query's variables: a JSON object.
    #[arg(long, value_name = "JSON", value_parser = parse_variables)]
    pub variables: Option<Variables>,
    /// How the answer is printed.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub format: Format,
}

/// Reads the config and the query, asks, and prints the answer.
///
/// # Errors
/// A wrong config or no query (2); an answer with errors, after its data was printed (1).
pub fn run(args: Args) -> Result<(), Failure> {
    let stdin = std::io::stdin();
    if args.query.is_none() && stdin.is_terminal() {
        return Err(Failure::usage("no query; give one, a file, or - for stdin; see `weir query --help`"));
    }
    let text = read_query(args.query.as_deref().unwrap_or("-"), &mut stdin.lock())?;
    let config = args.config.load()?;
    let request = Request::new(text).variables(args.variables.unwrap_or_default());
    block_on(async move {
        let response = ask(config, request).await?;
        finish(&response, args.format)
    })
}

/// Runs `request` on a gateway of its own and gives the response as JSON.
async fn ask(config: Config, request: Request) -> Result<String, Failure> {
    let app = gateway::build(&config)?;
    let gateway = app.gateway().clone();
    // In a task of its own, as the gateway demands.
    let answer = tokio::spawn(async move { gateway.execute(Caller::Anonymous, request).await }).await;
    app.end().await;
    let answer = answer.map_err(|error| Failure::failed(format!("the query was not finished: {error}")))?;
    String::from_utf8(answer.to_json()).map_err(|error| Failure::failed(format!("the answer is no JSON: {error}")))
}

/// Prints the data; errors go to stderr and make the command fail.
fn finish(response: &str, format: Format) -> Result<(), Failure> {
    let rendered = rows::render(response, format)
        .map_err(|error| Failure::failed(format!("the answer cannot be printed: {error}")))?;
    output::print(&rendered.text)?;
    if rendered.errors.is_empty() { Ok(()) } else { Err(Failure::Failed(rendered.errors)) }
}

/// Every query has a brace and hardly any file name does: with one it is the query itself.
fn read_query(word: &str, stdin: &mut dyn Read) -> Result<String, Failure> {
    let text = if word == "-" {
        let mut text = String::new();
        stdin
            .read_to_string(&mut text)
            .map_err(|error| Failure::usage(format!("the query cannot be read from stdin: {error}")))?;
        text
    } else if word.contains('{') {
        word.to_owned()
    } else {
        std::fs::read_to_string(Path::new(word)).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Failure::usage(format!("{word}: no such file, and no query either: a query is written in {{ braces }}"))
            }
            _ => Failure::usage(format!("{word}: the query cannot be read: {error}")),
        })?
    };
    if text.trim().is_empty() { Err(Failure::usage("the query is empty; see `weir query --help`")) } else { Ok(text) }
}

/// The message tells the place and not the text: variables may hold phone numbers.
fn parse_variables(text: &str) -> Result<Variables, String> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| {
        format!(
            "not JSON at column {} of line {}; write an object, like {{\"appId\": \"app-one\"}}",
            error.column(),
            error.line()
        )
    })?;
    if value.is_object() {
        Ok(Variables::from_json(value))
    } else {
        Err("must be a JSON object, like {\"appId\": \"app-one\"}".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_given_in_words_in_a_file_or_on_stdin() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("channels.graphql");
        std::fs::write(&file, "{ channels { account } }").unwrap();
        let read = |word: &str| read_query(word, &mut "{ applications { appId } }".as_bytes());
        assert_eq!(read("query Q { datasets { name } }").unwrap(), "query Q { datasets { name } }");
        assert_eq!(read(&file.to_string_lossy()).unwrap(), "{ channels { account } }");
        assert_eq!(read("-").unwrap(), "{ applications { appId } }");
        let refusal = read("none.graphql").unwrap_err();
        assert!(format!("{refusal:?}").contains("none.graphql: no such file"), "{refusal:?}");
        assert!(read_query("-", &mut " \n".as_bytes()).is_err());
    }

    #[test]
    fn variables_are_an_object_and_are_not_repeated() {
        let variables = parse_variables(r#"{"appId": "app-one", "first": 5}"#).unwrap();
        assert_eq!(variables.len(), 2);
        for text in ["[1]", "\"8613800000001\"", "{8613800000001}", ""] {
            let refusal = parse_variables(text).unwrap_err();
            assert!(!refusal.contains("8613800000001"), "{refusal}");
        }
    }
}
