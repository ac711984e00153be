//! How deep a file's keys go. Arrays and inline tables are counted by the TOML parser, dotted keys are not: one of a million
//! parts would be a table as deep, which nobody can even let go of again.

use std::ops::Range;

/// Parts of a dotted key: far more than any scenario has.
const MAX_PARTS: usize = 16;

/// The first key of too many parts.
pub(crate) fn too_deep(text: &str) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let (mut at, mut begin, mut dots) = (0, 0, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' | b'\'' => {
                at = after_string(bytes, at);
                continue;
            }
            b'#' => {
                at += bytes[at..].iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len() - at);
                continue;
            }
            b'.' => dots += 1,
            b'=' | b',' | b'{' | b'}' | b'[' | b']' | b'\n' => (begin, dots) = (at + 1, 0),
            _ => {}
        }
        if dots >= MAX_PARTS {
            return Some(begin..at + 1);
        }
        at += 1;
    }
    None
}

/// Where a string that begins at `at` is over. One that is not closed ends with its line, as the parser has it.
fn after_string(bytes: &[u8], at: usize) -> usize {
    let quote = bytes[at];
    let is_long = bytes[at..].starts_with(&[quote; 3]);
    let mut at = at + if is_long { 3 } else { 1 };
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if quote == b'"' => at += 1,
            b'\n' if !is_long => return at,
            _ if *byte != quote => {}
            _ if !is_long => return at + 1,
            _ if bytes[at..].starts_with(&[quote; 3]) => return at + 3,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_are_counted() {
        let dots = ".a".repeat(40);
        for good in [
            format!("x = 'a{dots}'"),
            format!("x = \"a{dots}\\\"{dots}\""),
            format!("x = \"\"\"a{dots}\n\"{dots}\"\"\""),
            format!("x = '''a{dots}\n'{dots}'''"),
            format!("x = 1 # a{dots}"),
            "a.b.c = 1\n".repeat(100),
            format!("x = [{}]", "1.5, ".repeat(100)),
        ] {
            assert_eq!(too_deep(&good), None, "{good}");
        }
        for bad in [
            format!("a{dots} = 1"),
            format!("[a{dots}]"),
            format!("x = {{ a{dots} = 1 }}"),
            format!("'open\na{dots} = 1"),
        ] {
            assert!(too_deep(&bad).is_some(), "{bad}");
        }
    }
}
