//! A text that lacks its quotes. The parser takes it for a number or a date and says what is wrong with that one.

use toml::de::DeValue;

/// The line around `at` if the value on it is text without quotes: where the line begins, and its key.
pub(super) fn missing(text: &str, at: usize) -> Option<(usize, &str)> {
    let start = text.get(..at)?.rfind('\n').map_or(0, |end| end + 1);
    let (key, value) = text[start..].lines().next()?.split_once('=')?;
    let key = key.trim();
    let is_key = |letter: char| letter.is_ascii_alphanumeric() || "_-.".contains(letter);
    let value = value.split('#').next().unwrap_or_default().trim();
    let mut items = value.trim_start_matches('[').trim_end_matches(']').split(',');
    (key.chars().all(is_key) && items.any(is_bare_text)).then_some((start, key))
}

fn is_bare_text(value: &str) -> bool {
    let value = value.trim();
    let begins_like_toml = value.starts_with(['"', '\'', '[', '{']);
    !value.is_empty() && !begins_like_toml && DeValue::parse(value).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_lacks_quotes() {
        for value in [
            "127.0.0.1",
            "127.0.0.1:8080",
            "[::1]:8080",
            "https://cams.example",
            "10s",
            "8h30m",
            "256MiB # a quarter",
            "embedded",
            "/var/lib/weir",
            "[cams-alpha]",
            "[\"cams-alpha\", cams-beta]",
        ] {
            let text = format!("a = 1\nkey = {value}\n");
            assert_eq!(missing(&text, 8), Some((6, "key")), "{value}");
        }
        for value in ["", "1", "1.5", "true", "2026-11-01", "\"text", "[\"a\" \"b\"]", "{ a = 1", "[1, 2"] {
            assert_eq!(missing(&format!("key = {value}\n"), 2), None, "{value}");
        }
        assert_eq!(missing("[[alibaba_cams]\n", 3), None);
        assert_eq!(missing("", 0), None);
    }
}
