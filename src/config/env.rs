//! `${VAR}` in string values, and the few variables that weir itself knows.

use std::path::PathBuf;

use super::Environment;

/// The environment of this process. A variable that is not UTF-8 counts as unset.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn process_env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A string value after the variables were put in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expanded {
    pub(super) text: String,
    /// Whether the environment had a part in it.
    pub(super) substituted: bool,
}

/// Puts the environment's values for each `${VAR}`; `$${` stands for a literal `${`.
///
/// # Errors
/// What is wrong, without any value.
pub(super) fn expand(text: &str, env: &Environment<'_>) -> Result<Expanded, String> {
    let mut out = String::with_capacity(text.len());
    let mut substituted = false;
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &from[2..];
            continue;
        }
        out.push_str(before);
        let Some((name, after)) = from[2..].split_once('}').filter(|(name, _)| is_name(name)) else {
            return Err("`${` begins a variable, like ${CAMS_ID}; for the characters themselves write `$${`".to_owned());
        };
        let Some(value) = env(name) else {
            return Err(format!(
                "the environment variable {name} is not set; set it, or write `$${{` for a plain `${{`"
            ));
        };
        out.push_str(&value);
        substituted = true;
        rest = after;
    }
    out.push_str(rest);
    Ok(Expanded { text: out, substituted })
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

/// `$XDG_STATE_HOME/weir`, else `~/.local/state/weir`. Relative paths do not count, as the XDG specification has it.
pub(super) fn state_dir(env: &Environment<'_>) -> Option<PathBuf> {
    let absolute = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|dir| dir.join("weir"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "ID" => Some("alpha".to_owned()),
            "NESTED" => Some("${ID}".to_owned()),
            "HOME" => Some("/home/me".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_put_in_once_and_the_escape_is_kept() {
        for (text, wanted, substituted) in [
            ("plain $5 {x} $", "plain $5 {x} $", false),
            ("${ID}", "alpha", true),
            ("a-${ID}-${ID}-z", "a-alpha-alpha-z", true),
            ("$${ID}", "${ID}", false),
            ("$$${ID}", "$${ID}", false),
            ("${NESTED}", "${ID}", true),
        ] {
            assert_eq!(expand(text, &env), Ok(Expanded { text: wanted.to_owned(), substituted }), "{text}");
        }
    }

    #[test]
    fn unset_and_malformed_variables_are_refused() {
        for (text, part) in
            [("${NONE}", "NONE is not set"), ("${ID", "begins a variable"), ("${}", "begins"), ("${1A}", "begins")]
        {
            let refusal = expand(text, &env).unwrap_err();
            assert!(refusal.contains(part), "{text}: {refusal}");
        }
    }

    #[test]
    fn the_state_directory_follows_the_environment() {
        assert_eq!(state_dir(&env), Some(PathBuf::from("/home/me/.local/state/weir")));
        let xdg = |name: &str| (name == "XDG_STATE_HOME").then(|| "/var/state".to_owned());
        assert_eq!(state_dir(&xdg), Some(PathBuf::from("/var/state/weir")));
        let relative = |_: &str| Some("here".to_owned());
        assert_eq!(state_dir(&relative), None);
    }
}
