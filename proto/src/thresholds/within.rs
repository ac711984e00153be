//! The comparison with what was measured elsewhere: `disk.read.latency.p99 within 20% of phase:idle`.

use super::Wrong;

/// What a reference to a phase begins with.
const PHASE: &str = "phase:";
const MEND: &str = "write a share and what it is of: within 20% of phase:idle";

/// Where the comparison begins, and where what follows it does; nothing where there is none.
pub(super) fn split(text: &str) -> Option<(usize, usize)> {
    let mut from = 0;
    loop {
        let at = from + text[from..].find("within")?;
        let end = at + "within".len();
        let is_word = text[..at].ends_with(char::is_whitespace) || at == 0;
        if is_word && text[end..].chars().next().is_none_or(char::is_whitespace) {
            return Some((at, end));
        }
        from = end;
    }
}

/// The share and the reference, which begin at `begin`.
pub(super) fn read(text: &str, begin: usize) -> Result<(f64, String), Wrong> {
    let rest = &text[begin..];
    let wrong = |part: &str, message: String| {
        let at = text.len() - rest.len() + rest.find(part).unwrap_or_default();
        let end = (at + part.len()).max(at + 1).min(text.len());
        Wrong { part: at.min(end)..end, message, mend: MEND.into() }
    };
    let Some((share, reference)) = rest.split_once(" of ") else {
        return Err(wrong(rest.trim(), "the comparison says not within how much of what".into()));
    };
    let (share, reference) = (share.trim(), reference.trim());
    let percent = share.strip_suffix('%').and_then(|number| number.trim_end().parse::<f64>().ok());
    let Some(percent) = percent.filter(|percent| percent.is_finite() && *percent > 0.0) else {
        let shown: String = share.chars().take(80).collect();
        return Err(wrong(share, format!("'{shown}' is no share")));
    };
    match reference.strip_prefix(PHASE) {
        Some(name) if !name.is_empty() && !name.contains(char::is_whitespace) => {
            Ok((percent / 100.0, reference.to_owned()))
        }
        _ => {
            let shown: String = reference.chars().take(80).collect();
            Err(wrong(reference, format!("'{shown}' is nothing that can be compared with")))
        }
    }
}

/// The phase that a reference names; nothing where it is another's.
pub fn reference_phase(reference: &str) -> Option<&str> {
    reference.strip_prefix(PHASE)
}

#[cfg(test)]
mod tests {
    use super::super::{holds, parse};
    use crate::v1::ThresholdComparison;

    #[test]
    fn a_share_of_a_phase_is_read_and_judged() {
        let mut read = parse("disk.read.latency.p99 within 20% of phase:idle").unwrap();
        assert_eq!(read.comparison(), ThresholdComparison::Within);
        assert_eq!((read.value, &*read.reference, &*read.metric), (0.2, "phase:idle", "burner.latency"));
        assert!(!holds(&read, 100.0), "nothing is known to compare with");
        read.reference_value = Some(100.0);
        for (value, good) in [(100.0, true), (80.0, true), (120.0, true), (79.9, false), (120.1, false)] {
            assert_eq!(holds(&read, value), good, "{value}");
        }
    }

    #[test]
    fn what_can_not_be_compared_is_told_at_its_part() {
        for (text, part, words) in [
            ("host.temperature.max within 20 of phase:a", "20", "no share"),
            ("host.temperature.max within 0% of phase:a", "0%", "no share"),
            ("host.temperature.max within 20%", "20%", "of what"),
            ("host.temperature.max within 20% of idle", "idle", "compared with"),
            ("host.temperature.max within 20% of phase:", "phase:", "compared with"),
            ("host.temprature.max within 20% of phase:a", "host.temprature.max", "no metric"),
            ("host.temperature within 20% of phase:a", "host.temperature", "many readings"),
        ] {
            let wrong = parse(text).expect_err(text);
            assert!(wrong.message.contains(words), "{text}: {wrong:?}");
            assert_eq!(text.get(wrong.part.clone()), Some(part), "{text}: {wrong:?}");
        }
    }
}
