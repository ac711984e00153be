//! The name that was probably meant.

/// Levenshtein's distance, of short names.
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(128).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// The nearest of `known`, where one is near: a third of its characters may differ.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let ranked = known.into_iter().map(|known| (distance(known, name), known));
    ranked.filter(|(distance, known)| *distance <= known.chars().count() / 3).min().map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_near() {
        assert_eq!(distance("load", "load"), 0);
        assert_eq!(distance("load", "lod"), 1);
        assert_eq!(distance("path", "load"), 4);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(nearest("host.temprature", ["host.temperature", "host.power"]), Some("host.temperature"));
        assert_eq!(nearest("quack", ["host.temperature", "host.power"]), None);
    }
}
