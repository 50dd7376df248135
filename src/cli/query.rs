//! `weir query`: one query, asked without a server or of a running one.

mod pages;

use std::io::{IsTerminal, Read};
use std::path::Path;

use async_graphql::{Name, Request, Value, Variables};
use clap::ValueEnum;

use super::asked::{Answering, Asked};
use super::tables::{self, RenderError, Response};
use super::{Failure, block_on, output};
use crate::domain::Caller;
use pages::Pages;

/// Run one query and print its answer.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  weir query --demo '{ channels { custSpaceId account } }'
  weir query --config weir.toml --format csv examples/queries/01-both-vendors.graphql
  weir query --config weir.toml --variables '{\"appId\": \"app-one\"}' --format table - < query.graphql
  weir query --url http://127.0.0.1:8080 '{ quotas { operation available } }'

json prints the whole response. table and csv print one row for each item of each root field's lists, nested
objects as columns with dots; several root fields make several tables with an empty line between them. They
follow a list at the top of the query to its end if it has no first, or a variable as its after; where a list
has more rows than are printed, stderr says so, and the exit code is 1.")]
pub struct Args {
    /// Whom to ask.
    #[command(flatten)]
    pub asked: Asked,
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

/// How an answer is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The whole response, errors and extensions included.
    #[default]
    Json,
    /// For reading.
    Table,
    /// For other programs.
    Csv,
}

/// Reads the query, asks, and prints the answer.
///
/// # Errors
/// A wrong config or no query (2); an answer with errors, or with more rows than are printed, after its data was printed
/// (1).
pub fn run(args: Args) -> Result<(), Failure> {
    let stdin = std::io::stdin();
    if args.query.is_none() && stdin.is_terminal() {
        return Err(Failure::usage("no query; give one, a file, or - for stdin; see `weir query --help`"));
    }
    let text = read_query(args.query.as_deref().unwrap_or("-"), &mut stdin.lock())?;
    let variables = args.variables.unwrap_or_default();
    block_on(async move {
        let answering = args.asked.answering()?;
        let done = answer(&answering, text, variables, args.format).await;
        answering.end().await;
        done
    })
}

/// Prints the data; errors go to stderr and make the command fail.
async fn answer(answering: &Answering, text: String, variables: Variables, format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        let response = answering.ask(text, variables).await?;
        let errors = Response::read(&response).map_err(|error| unprintable(&error))?.error_lines();
        output::print(&tables::to_json(&response).map_err(|error| unprintable(&error))?)?;
        return finish(errors);
    }
    let mut pages = Pages::of(&text);
    let errors = loop {
        let mut variables = variables.clone();
        variables.extend(pages.cursors().map(|(name, at)| (Name::new(name), Value::from(at))));
        let response = answering.ask(pages.text.clone(), variables).await?;
        let response = Response::read(&response).map_err(|error| unprintable(&error))?;
        let errors = response.error_lines();
        if !pages.take(response.data) || !errors.is_empty() {
            break errors;
        }
    };
    let shape = pages.shape.clone();
    let (data, more) = pages.finish();
    output::print(&match format {
        Format::Csv => tables::to_csv(&data, &shape).map_err(|error| unprintable(&error))?,
        _ => tables::to_text(&data, &shape),
    })?;
    let more = more.iter().map(|list| {
        format!(
            "{list} has more rows than these; a list at the top of the query is followed to its end if it has no `first`, \
             or a variable as its `after`"
        )
    });
    finish(errors.into_iter().chain(more).collect())
}

fn finish(lines: Vec<String>) -> Result<(), Failure> {
    if lines.is_empty() { Ok(()) } else { Err(Failure::Failed(lines)) }
}

fn unprintable(error: &RenderError) -> Failure {
    Failure::failed(format!("the answer cannot be printed: {error}"))
}

impl Answering {
    /// The response to a query, as JSON.
    async fn ask(&self, query: String, variables: Variables) -> Result<String, Failure> {
        let app = match self {
            Self::Own(app) => app,
            Self::Remote(remote) => {
                return remote.graphql(serde_json::json!({ "query": query, "variables": variables }).to_string()).await;
            }
        };
        let gateway = app.gateway().clone();
        let request = Request::new(query).variables(variables);
        // In a task of its own, as the gateway demands.
        let answer = tokio::spawn(async move { gateway.execute(Caller::Anonymous, request).await }).await;
        let answer = answer.map_err(|error| Failure::failed(format!("the query was not finished: {error}")))?;
        String::from_utf8(answer.to_json()).map_err(|error| Failure::failed(format!("the answer is no JSON: {error}")))
    }
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
