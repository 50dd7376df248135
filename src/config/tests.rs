//! The example file is the documentation of the defaults; these tests hold the two together.

use secrecy::ExposeSecret;

use super::*;

const EXAMPLE: &str = include_str!("../../weir.example.toml");
/// Keys without a default, or whose example says more than the default.
const SAMPLES: [&str; 5] = ["name", "access_key_id", "access_key_secret", "channels", "apps"];

fn env(name: &str) -> Option<String> {
    match name {
        "CAMS_ID" | "CAMS_SECRET" | "RTC_ID" | "RTC_SECRET" => Some(format!("canary-{name}")),
        "HOME" => Some("/home/me".to_owned()),
        _ => None,
    }
}

fn is_key(line: &str) -> Option<&str> {
    let (key, _) = line.split_once(" = ")?;
    key.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_').then_some(key)
}

/// The keys of the example, with the header above each.
fn keys() -> Vec<(&'static str, &'static str)> {
    let mut header = "";
    let mut keys = Vec::new();
    for line in EXAMPLE.lines() {
        if line.starts_with('[') {
            header = line;
        } else if let Some(key) = is_key(line) {
            keys.push((header, key));
        }
    }
    keys
}

#[test]
fn every_value_of_the_example_is_the_default() {
    let whole = Config::parse(EXAMPLE, "example", &env).unwrap();
    assert!(whole.alibaba_cams[0].security_token.expose_secret().is_empty());
    assert!(whole.volcengine_rtc[0].security_token.expose_secret().is_empty());
    let without_defaults: String = EXAMPLE
        .lines()
        .filter(|line| is_key(line).is_none_or(|key| SAMPLES.contains(&key)))
        .flat_map(|line| [line, "\n"])
        .collect();
    assert!(!without_defaults.contains("= \"256MiB\""), "the defaults were taken out");
    let bare = Config::parse(&without_defaults, "bare", &env).unwrap();
    assert_eq!(format!("{whole:#?}"), format!("{bare:#?}"));
    assert!(bare.alibaba_cams[0].security_token.expose_secret().is_empty());
    assert!(bare.volcengine_rtc[0].security_token.expose_secret().is_empty());
}

#[test]
fn no_key_is_missing_from_the_example() {
    let keys = keys();
    let mut sections: Vec<&str> = keys.iter().map(|(header, _)| *header).collect();
    sections.dedup();
    assert_eq!(sections.len(), 15, "the top, two accounts with their quotas, and ten sections: {sections:?}");
    for section in sections {
        // An unknown key that resembles none is answered with all keys that are known there.
        let text = if section.is_empty() {
            format!("zzzzzz = 1\n{EXAMPLE}")
        } else {
            EXAMPLE.replace(&format!("\n{section}\n"), &format!("\n{section}\nzzzzzz = 1\n"))
        };
        let error = Config::parse(&text, "example", &env).unwrap_err().to_string();
        let (_, known) = error.split_once("known here: ").unwrap();
        for known in known.split(", ") {
            let prefix = section.trim_matches(['[', ']']);
            let inner = if prefix.is_empty() { known.to_owned() } else { format!("{prefix}.{known}") };
            let is_section = EXAMPLE.contains(&format!("[{inner}]"));
            assert!(is_section || keys.contains(&(section, known)), "`{known}` of {section:?} is not in the example");
        }
    }
}

#[test]
fn the_defaults_in_code_are_those_of_an_empty_file() {
    let parsed = Config::parse("", "empty", &env).unwrap();
    assert_eq!(parsed.state_dir, PathBuf::from("/home/me/.local/state/weir"));
    let in_code = Config { state_dir: parsed.state_dir.clone(), ..Config::default() };
    assert_eq!(format!("{parsed:?}"), format!("{in_code:?}"));
}
