//! The config file: every complaint names its line and repeats no secret, and what is accepted holds together.

use weir::config::Config;

/// Stands for every variable of the environment, and in the seeds for every secret of the file.
const SECRET: &str = "canary-secret";

fn parse(text: &str) -> Result<Config, Vec<String>> {
    let env = |name: &str| match name {
        "HOME" | "XDG_STATE_HOME" => Some("/var/lib/weir".to_owned()),
        "NUMBER" => Some("5".to_owned()),
        _ => Some(SECRET.to_owned()),
    };
    Config::parse(text, "weir.toml", &env).map_err(|error| error.lines().to_vec())
}

/// The line of a complaint and what it says.
fn placed(complaint: &str) -> (usize, &str) {
    let rest = complaint.strip_prefix("weir.toml:").expect("a complaint names the file");
    let (line, what) = rest.split_once(": ").expect("a complaint has a place and a text");
    (line.parse().expect("a complaint names its line"), what)
}

pub fn run(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let read = parse(text);
    // A line in front moves every complaint by one, and changes nothing else.
    let moved = parse(&format!("# in front\n{}", text.strip_prefix('\u{feff}').unwrap_or(text)));
    match (read, moved) {
        (Ok(config), Ok(same)) => {
            assert_eq!(format!("{config:?}"), format!("{same:?}"), "a comment changes the config");
            assert!(!format!("{config:?}").contains(SECRET), "a config shows a secret");
            holds_together(&config);
            true
        }
        (Err(complaints), Err(moved)) => {
            let lines = text.matches('\n').count() + 1;
            assert!(!complaints.is_empty(), "refused without a word");
            let (complaints, moved) = (complaints.iter().map(|own| placed(own)), moved.iter().map(|own| placed(own)));
            let (complaints, moved): (Vec<_>, Vec<_>) = (complaints.collect(), moved.collect());
            assert!(complaints.is_sorted_by_key(|(line, _)| *line), "{complaints:?}");
            for (line, what) in &complaints {
                assert!((1..=lines).contains(line), "line {line} of {lines}: {what}");
                assert!(!what.contains('\n') && !what.contains(SECRET), "{what}");
            }
            let expected: Vec<_> = complaints.into_iter().map(|(line, what)| (line + 1, what)).collect();
            assert_eq!(moved, expected, "a line in front changes the complaints");
            false
        }
        (read, moved) => panic!("a comment makes {:?} of {:?}", moved.is_ok(), read.is_ok()),
    }
}

/// What is made of a config without further checks.
fn holds_together(config: &Config) {
    let terms = config.terms();
    assert!(terms.lease() >= terms.usable());
    for entry in &config.alibaba_cams {
        entry.account().expect("an endpoint that was checked");
    }
    for entry in &config.volcengine_rtc {
        entry.account().expect("an endpoint that was checked");
    }
    assert!(config.asks_for_keys() || config.listen.ip().is_loopback(), "open to everybody");
}
