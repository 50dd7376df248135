//! What of a caller's text may be logged.

/// More digits in a row than this are not logged.
const DIGITS_LOGGED: usize = 6;

/// No text of a caller is logged longer than this, in bytes.
const TEXT_LOGGED: usize = 100;

/// `text`, short and without runs of digits that may be a phone number.
pub(super) fn loggable(text: &str) -> String {
    let mut short = String::new();
    for part in text.split_inclusive(|c: char| !c.is_ascii_digit()) {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        if digits > DIGITS_LOGGED {
            short.push('…');
            short.push_str(&part[digits..]);
        } else {
            short.push_str(part);
        }
        if short.len() > TEXT_LOGGED {
            short.truncate(short.floor_char_boundary(TEXT_LOGGED));
            short.push('…');
            break;
        }
    }
    short
}
