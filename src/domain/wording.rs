//! Words in messages: what callers sent is repeated short and without phone numbers, and a wrong name is told its nearest
//! known one.

use super::ids::masked;

/// No text of a caller is repeated longer than this, in characters.
pub const MAX_ECHO: usize = 100;

/// A caller's text as it is repeated in a message: short and without phone numbers.
#[must_use]
pub fn echo(text: &str) -> String {
    // Digits are masked whole: a phone number that is cut is still one.
    let mut short: String = text.chars().take(2 * MAX_ECHO).collect();
    short = masked(&short);
    if let Some((at, _)) = short.char_indices().nth(MAX_ECHO) {
        short.truncate(at);
    }
    if short.len() < text.len() && text.chars().nth(MAX_ECHO).is_some() {
        short.push('…');
    }
    short
}

/// The known word that `word` most likely stands for. Case does not count.
pub fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    if word.len() > MAX_ECHO {
        return None;
    }
    let word = word.to_lowercase();
    known
        .map(|candidate| (strsim::normalized_damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// What a word that is near is told after.
pub const HINT: &str = "; did you mean ";

/// "; did you mean `listen`?" where a known word is near; else nothing.
#[must_use]
pub fn hint(word: &str, known: &[&str]) -> String {
    nearest(word, known.iter().copied()).map(|near| format!("{HINT}`{near}`?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_callers_sent_is_repeated_short_and_without_phone_numbers() {
        assert_eq!(echo("DAYLY"), "DAYLY");
        assert_eq!(echo("+8613800138000\n"), "+***00\n");
        let long = echo(&"ä".repeat(1_000_000));
        assert_eq!(long.chars().count(), MAX_ECHO + 1);
        assert!(!echo(&format!("{}8613800138000", "x".repeat(95))).contains("86138"));
    }

    #[test]
    fn the_nearest_word_is_told() {
        let known = || ["phoneNumberMetrics", "channel"].into_iter();
        assert_eq!(nearest("phoneNumberMetric", known()), Some("phoneNumberMetrics"));
        assert_eq!(nearest("CHANEL", known()), Some("channel"));
        assert_eq!(nearest("quotas", known()), None);
        assert_eq!(nearest(&"channel".repeat(1_000), known()), None);
    }
}
