//! Lines and columns of a text.

use async_graphql::Pos;

/// How far apart places are remembered, so that counting characters from the last one takes no time.
const STRIDE: usize = 256;

/// Where the lines of a text begin.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    text: &'a str,
    /// Then every character is one byte and one column.
    is_ascii: bool,
    /// Places in the order of the text, the beginning of each line among them: offset, line, column.
    known: Vec<(usize, usize, usize)>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let is_ascii = text.is_ascii();
        let known = if is_ascii { of_ascii(text) } else { of_any(text) };
        Self { text, is_ascii, known }
    }

    /// The line and the column of an offset in bytes, both from 1; columns count UTF-16 units, as graphql-js and editors do.
    pub(super) fn at(&self, offset: usize) -> Pos {
        let after = self.known.partition_point(|(known, ..)| *known <= offset);
        let (from, line, column) = after.checked_sub(1).and_then(|at| self.known.get(at)).copied().unwrap_or((0, 1, 1));
        if self.is_ascii {
            return Pos { line, column: column + offset.saturating_sub(from) };
        }
        let between = self.text.get(from..offset).map_or(0, |text| text.chars().map(char::len_utf16).sum());
        Pos { line, column: column + between }
    }
}

fn of_ascii(text: &str) -> Vec<(usize, usize, usize)> {
    let bytes = text.as_bytes();
    let ends = bytes.iter().enumerate().filter(|(at, byte)| match byte {
        b'\n' => true,
        b'\r' => bytes.get(at + 1) != Some(&b'\n'),
        _ => false,
    });
    let starts = std::iter::once(0).chain(ends.map(|(at, _)| at + 1));
    starts.enumerate().map(|(line, start)| (start, line + 1, 1)).collect()
}

fn of_any(text: &str) -> Vec<(usize, usize, usize)> {
    let mut known = vec![(0, 1, 1)];
    let (mut line, mut column, mut last) = (1, 1, 0);
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let next = at + character.len_utf8();
        let is_pair = character == '\r' && characters.peek().is_some_and(|(_, next)| *next == '\n');
        if matches!(character, '\n' | '\r') && !is_pair {
            (line, column) = (line + 1, 1);
            known.push((next, line, column));
            last = next;
            continue;
        }
        column += character.len_utf16();
        if next - last >= STRIDE {
            known.push((next, line, column));
            last = next;
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_the_grammar_says_and_columns_count_as_editors_do() {
        let text = "{ a\n 😀b\r\n  c\rd }";
        let lines = Lines::new(text);
        for (word, line, column) in [("{", 1, 1), ("a", 1, 3), ("b", 2, 4), ("c", 3, 3), ("d", 4, 1), ("}", 4, 3)] {
            let at = lines.at(text.find(word).unwrap());
            assert_eq!((at.line, at.column), (line, column), "{word}");
        }
        let plain = "{ a\n b\r\n  c\rd }";
        assert_eq!(of_ascii(plain), of_any(plain));
        let long = "é".repeat(1_000) + "x";
        assert_eq!(Lines::new(&long).at(2_000).column, 1_001);
        assert_eq!(Lines::new("").at(7).line, 1);
    }
}
