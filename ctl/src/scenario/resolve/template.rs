//! `${NAME}` in a string.

use std::borrow::Cow;

use toml::de::DeValue;

/// What stands in a string.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    Text(&'a str),
    Name(&'a str),
}

/// Its parts. `$${` is `${` itself.
///
/// # Errors
/// Where a `${` begins that does not end.
pub(super) fn parts(text: &str) -> Result<Vec<Part<'_>>, usize> {
    let mut parts = Vec::new();
    let (mut from, mut at) = (0, 0);
    while let Some(found) = text[at..].find("${") {
        let open = at + found;
        if open > from && text[from..open].ends_with('$') {
            // Without the sign that says so.
            parts.push(Part::Text(&text[from..open - 1]));
            (from, at) = (open, open + 2);
            continue;
        }
        let close = open + text[open..].find('}').ok_or(open)?;
        if open > from {
            parts.push(Part::Text(&text[from..open]));
        }
        parts.push(Part::Name(text[open + 2..close].trim()));
        (from, at) = (close + 1, close + 1);
    }
    if from < text.len() || parts.is_empty() {
        parts.push(Part::Text(&text[from..]));
    }
    Ok(parts)
}

/// The names in a string. None of one that is broken: whoever fills it in tells.
pub(super) fn names(text: &str) -> impl Iterator<Item = &str> {
    let parts = if text.contains("${") { parts(text).unwrap_or_default() } else { Vec::new() };
    parts.into_iter().filter_map(|part| match part {
        Part::Name(name) => Some(name),
        Part::Text(_) => None,
    })
}

/// A text that is taken as it is where names are filled in.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if text.contains("${") { text.replace("${", "$${").into() } else { text.into() }
}

/// A value as it stands within a text; nothing of a list or a table.
pub(super) fn words(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Datetime(time) => Some(time.to_string()),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_between_texts() {
        use Part::{Name, Text};
        for (text, expected) in [
            ("", vec![Text("")]),
            ("plain $x {y}", vec![Text("plain $x {y}")]),
            ("${a}", vec![Name("a")]),
            (
                "sine:${low}..${high}/1s",
                vec![Text("sine:"), Name("low"), Text(".."), Name("high"), Text("/1s")],
            ),
            ("$${a}", vec![Text(""), Text("${a}")]),
            ("${a}$${b}${c}", vec![Name("a"), Text(""), Text("${b}"), Name("c")]),
            ("x$${a} ${b}", vec![Text("x"), Text("${a} "), Name("b")]),
        ] {
            assert_eq!(parts(text).unwrap(), expected, "{text}");
        }
        assert_eq!(parts("a ${b"), Err(2));
        assert_eq!(names("${a} ${b}").collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn what_is_escaped_is_itself_again() {
        for text in ["${a}", "x${", "$", "$${a}", "a$b"] {
            let escaped = escaped(text).into_owned();
            let back: String = parts(&escaped)
                .unwrap()
                .iter()
                .map(|part| match part {
                    Part::Text(text) => *text,
                    Part::Name(name) => panic!("{name} of {text}"),
                })
                .collect();
            assert_eq!(back, text);
        }
    }
}
