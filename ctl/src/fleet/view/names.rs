//! Names of hosts where there is little room.

/// Each name in at most so many characters. Where one is longer, what all begin and end with is left out first: it tells nobody from
/// another.
pub(crate) fn short(names: &[&str], width: usize) -> Vec<String> {
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    if longest <= width {
        return names.iter().map(|name| (*name).to_owned()).collect();
    }
    let (begin, end) = if names.len() > 1 { alike(names) } else { (0, 0) };
    names.iter().map(|name| cut(&name[begin..name.len() - end], width)).collect()
}

/// How many bytes all begin with, and end with, up to where a part of a name or path begins.
fn alike(names: &[&str]) -> (usize, usize) {
    let Some((first, others)) = names.split_first() else { return (0, 0) };
    let is_edge = |c: char| !c.is_alphanumeric();
    let begin = others.iter().fold(first.len(), |begin, name| {
        first[..begin]
            .char_indices()
            .zip(name.chars())
            .find(|((_, a), b)| a != b)
            .map_or_else(|| begin.min(name.len()), |((at, _), _)| at)
    });
    let begin = first
        .get(..begin)
        .and_then(|same| same.rfind(is_edge))
        .map_or(0, |edge| edge + first[edge..].chars().next().map_or(1, char::len_utf8));
    let rest = |name: &str| name.get(begin..).unwrap_or_default().to_owned();
    let tail = rest(first);
    let end = others.iter().fold(tail.len(), |end, name| {
        let name = rest(name);
        let same = tail.chars().rev().zip(name.chars().rev()).take_while(|(a, b)| a == b);
        end.min(same.map(|(a, _)| a.len_utf8()).sum())
    });
    let end = tail[tail.len() - end..].find(is_edge).map_or(0, |edge| end - edge);
    (begin, end)
}

/// Its beginning and its end, where it is longer.
fn cut(name: &str, width: usize) -> String {
    let count = name.chars().count();
    if count <= width {
        return name.to_owned();
    }
    let kept = width.saturating_sub(1);
    let (head, tail) = (kept / 2, kept - kept / 2);
    let begin: String = name.chars().take(head).collect();
    let end: String = name.chars().skip(count - tail).collect();
    format!("{begin}\u{2026}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_fit_stay() {
        assert_eq!(short(&["node1", "node2"], 8), ["node1", "node2"]);
    }

    #[test]
    fn what_all_have_is_left_out_first() {
        let names = ["unix:/tmp/ssts-Ab1/run/sstsd.sock", "unix:/tmp/ssts-Xy2/run/sstsd.sock"];
        assert_eq!(short(&names, 16), ["Ab1", "Xy2"]);
        let names = ["https://node001.lab.example.org:7443", "https://node117.lab.example.org:7443"];
        assert_eq!(short(&names, 16), ["node001", "node117"]);
    }

    #[test]
    fn one_that_is_still_too_long_keeps_its_ends() {
        assert_eq!(short(&["abcdefghij"], 5), ["ab\u{2026}ij"]);
        let names = ["a/same", "a/same"];
        assert!(short(&names, 3).iter().all(|name| name.chars().count() <= 3), "{:?}", short(&names, 3));
        assert_eq!(short(&["\u{e9}\u{e9}\u{e9}x", "\u{e9}\u{e9}\u{e9}y"], 3).len(), 2);
    }
}
