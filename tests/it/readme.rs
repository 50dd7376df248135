//! What the documents say of commands, keys, codes, tests and files is so.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;
use weir::config::Config;
use weir::error::Code;

use crate::support::server::read_all;

/// Folders that are fetched, built or kept by tools.
const NOT_OURS: [&str; 6] = [".git", ".cache", ".venv", "dist", "node_modules", "target"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every document of the repository.
fn documents() -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![root().to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                if !NOT_OURS.iter().any(|not_ours| name == *not_ours) {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 10, "{found:?}");
    found
}

/// The text between fences, with their languages.
fn blocks(text: &str) -> Vec<(&str, String)> {
    let (mut blocks, mut open) = (Vec::new(), None);
    for line in text.lines() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(language), None) => open = Some((language, String::new())),
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some((language, block))) => open = Some((language, block + line + "\n")),
            (None, None) => {}
        }
    }
    assert_eq!(open, None, "a fence is not closed");
    blocks
}

fn block(text: &str, language: &str, beginning: &str) -> String {
    let mut found = blocks(text).into_iter().filter(|(lang, block)| *lang == language && block.starts_with(beginning));
    found.next().unwrap_or_else(|| panic!("no block of {language} begins with {beginning:?}")).1
}

/// What is not between fences.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let is_prose = |line: &&str| {
        let is_fence = line.starts_with("```");
        fenced ^= is_fence;
        !fenced && !is_fence
    };
    text.lines().filter(is_prose).flat_map(|line| [line, "\n"]).collect()
}

/// The code in running text.
fn spans(text: &str) -> Vec<String> {
    prose(text).split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The words of a command as a shell splits them, up to a comment or another command.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in command.chars() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, '#' | '|' | '<' | '>' | ';' | '&') => break,
            (None, ' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

async fn help(args: &[String]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_weir")).args(args).arg("--help").stdin(Stdio::null()).output().await.unwrap()
}

#[tokio::test]
async fn every_command_in_the_documents_is_one() {
    let mut commands = BTreeSet::new();
    for document in documents() {
        let text = read(document);
        let in_blocks = blocks(&text).into_iter().filter(|(language, _)| *language == "sh");
        let lines = in_blocks.flat_map(|(_, block)| block.lines().map(str::to_owned).collect::<Vec<_>>());
        let commands_of = |text: String| text.strip_prefix("weir ").map(words);
        commands.extend(lines.chain(spans(&text)).filter_map(commands_of));
    }
    assert!(commands.len() > 10, "{commands:?}");
    for command in &commands {
        // Whatever comes before --help is parsed and judged before it.
        let output = help(command).await;
        assert!(output.status.success(), "weir {command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test]
async fn the_readme_knows_every_command_and_every_target() {
    let text = read("README.md");
    let spans = spans(&text);
    let output = String::from_utf8(help(&[]).await.stdout).unwrap();
    let (_, list) = output.split_once("Commands:\n").unwrap();
    let list = list.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
    let commands: Vec<_> = list.filter(|name| *name != "help").collect();
    assert!(commands.len() > 5, "{commands:?}");
    for name in commands {
        let row = format!("weir {name}");
        assert!(spans.iter().any(|span| span.starts_with(&row)), "README.md does not tell of {row}");
    }
    let makefile = read("Makefile");
    for target in spans.iter().filter_map(|span| span.strip_prefix("make ")) {
        assert!(makefile.contains(&format!("\n{target}: ")), "the Makefile has no {target}");
    }
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut n_links = 0;
    for document in documents() {
        let text = prose(&read(&document));
        let folder = document.parent().unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            n_links += 1;
            assert!(folder.join(path).exists(), "{}: nothing is at {link}", document.display());
        }
    }
    assert!(n_links > 20, "{n_links}");
}

#[test]
fn the_error_table_is_the_closed_list() {
    let text = read("README.md");
    let (_, section) = text.split_once("\n## Errors\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows: Vec<_> = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(rows, Code::ALL.map(Code::as_str));
}

#[test]
fn the_config_of_the_readme_is_whole() {
    let text = block(&read("README.md"), "toml", "[[alibaba_cams]]");
    let env = |name: &str| Some(if name == "HOME" { "/home/me".to_owned() } else { format!("value-of-{name}") });
    let config = Config::parse(&text, "README.md", &env).unwrap();
    assert_eq!((config.alibaba_cams.len(), config.volcengine_rtc.len()), (1, 1));
    config.require_accounts("README.md").unwrap();
}

#[test]
fn every_config_key_in_the_documents_is_in_the_example() {
    let example: toml::Table = read("weir.example.toml").parse().unwrap();
    let has = |key: &str| {
        let step = |at: &toml::Value, part: &str| match at {
            toml::Value::Array(entries) => entries.first()?.get(part).cloned(),
            _ => at.get(part).cloned(),
        };
        key.split('.').try_fold(toml::Value::Table(example.clone()), |at, part| step(&at, part)).is_some()
    };
    let is_key = |span: &String| {
        let is_file = [".rs", ".md", ".toml", ".graphql"].iter().any(|extension| span.ends_with(extension));
        let is_dotted = span.split('.').count() > 1 && span.split('.').all(|part| !part.is_empty());
        let is_plain = span.chars().all(|letter| letter.is_ascii_lowercase() || "._".contains(letter));
        is_dotted && is_plain && !is_file && !span.starts_with("extensions.")
    };
    let mut keys = BTreeSet::new();
    // The vendors' pages name hosts, which look alike.
    for document in documents().into_iter().filter(|path| !path.starts_with(root().join("docs/vendors"))) {
        keys.extend(spans(&read(document)).into_iter().filter(is_key));
    }
    assert!(keys.contains("queue.max_wait") && keys.len() > 5, "{keys:?}");
    for key in keys {
        assert!(has(&key), "weir.example.toml has no {key}");
    }
}

#[test]
fn every_test_that_the_documents_name_is_there() {
    let mut names = BTreeSet::new();
    for document in documents() {
        let is_test = |span: &String| {
            let is_plain = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            let is_sentence = |part: &str| part.matches('_').count() > 2;
            span.split_once("::").is_some_and(|(file, test)| is_plain(file) && is_plain(test) && is_sentence(test))
        };
        names.extend(spans(&read(document)).into_iter().filter(is_test));
    }
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        let (file, test) = name.split_once("::").unwrap();
        assert!(read(format!("tests/it/{file}.rs")).contains(&format!("fn {test}(")), "there is no test {name}");
    }
}

/// The files and folders of a tree that is drawn with two spaces a level; what they are for begins after two more.
fn drawn(tree: &str) -> Vec<PathBuf> {
    let (mut folders, mut paths): (Vec<&str>, _) = (Vec::new(), Vec::new());
    for line in tree.lines() {
        let name = line.trim_start();
        let level = (line.len() - name.len()) / 2;
        let name = name.split("  ").next().unwrap_or_default();
        folders.truncate(level);
        paths.push(folders.iter().chain([&name]).collect());
        folders.push(name);
    }
    paths
}

#[test]
fn the_map_shows_what_is_there_and_all_of_the_top() {
    let shown = drawn(&block(&read("ARCHITECTURE.md"), "text", "src/"));
    for path in &shown {
        let is_folder = path.to_string_lossy().ends_with('/');
        let full = root().join(path);
        assert!(full.exists() && full.is_dir() == is_folder, "{} is not there", path.display());
    }
    for entry in std::fs::read_dir(root().join("src")).unwrap().map(Result::unwrap) {
        let path = Path::new("src").join(entry.file_name());
        assert!(shown.contains(&path), "ARCHITECTURE.md does not show {}", path.display());
    }
}

/// `weir demo` on a free port, the curl that it prints, and its address.
async fn demo() -> (tokio::process::Child, String, String) {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["demo", "--listen", "127.0.0.1:0", "--log", "off"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let mut next = async || lines.next_line().await.unwrap().expect("the demo prints a query to try");
    let curl = loop {
        let line = next().await;
        if line.trim_start().starts_with("curl ") {
            break line.trim_start().to_owned();
        }
    };
    let address = curl.split("http://").nth(1).and_then(|rest| rest.split('/').next()).unwrap().to_owned();
    (demo, curl, address)
}

#[tokio::test]
async fn the_curl_is_the_one_that_the_demo_prints_and_answers_both_vendors() {
    let readme = read("README.md");
    let told = block(&readme, "sh", "curl ");
    let limit = Duration::from_secs(30);
    let (_demo, printed, address) = tokio::time::timeout(limit, demo()).await.expect("the demo starts");
    assert_eq!(told.trim_end(), printed.replace(&address, "127.0.0.1:8080"));

    let body = words(told.trim_end()).pop().unwrap();
    let request = format!(
        "POST /graphql HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(&address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = tokio::time::timeout(limit, read_all(&mut stream)).await.expect("the demo answers");
    let (_, json) = answer.split_once("\r\n\r\n").unwrap();
    let answer: Value = serde_json::from_str(json).unwrap();
    assert_eq!(answer.get("errors"), None);
    assert!(answer["data"]["phoneNumberMetrics"]["nodes"][0]["sentCount"].is_u64(), "{answer}");
    assert!(answer["data"]["operationDistribution"]["data"][0]["value"].is_f64(), "{answer}");

    let excerpt = block(&readme, "json", "{\n  \"data\"");
    let keys: Vec<_> = excerpt.split("\":").filter_map(|before| before.rsplit('"').next()).collect();
    let (_, keys) = keys.split_last().unwrap();
    assert!(keys.len() > 15, "{keys:?}");
    for key in keys {
        assert!(json.contains(&format!("\"{key}\":")), "the answer has no {key}");
    }
}
