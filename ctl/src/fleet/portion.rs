//! How many hosts of a fleet are meant: so many, or a share of them.

use std::fmt;

use crate::error::Problem;

/// A number of hosts, or percent of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Portion {
    Hosts(usize),
    /// 0 to 100.
    Percent(f64),
}

/// Products of percent and hosts are off by less.
const ROUNDING: f64 = 1e-9;

impl Portion {
    /// `5`, `10%`, `2.5 %`.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        let text = text.trim();
        let problem = |why: &str| {
            let shown: String = text.chars().take(40).collect();
            Problem::new(
                format!("'{shown}' is no number of hosts: {why}"),
                "write a number of hosts, such as 5, or a share of them, such as 10%",
            )
        };
        match text.strip_suffix('%') {
            Some(digits) => match digits.trim_end().parse::<f64>() {
                Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Self::Percent(percent)),
                Ok(_) => Err(problem("a share is 0 to 100 percent")),
                Err(_) => Err(problem("it is no share in percent")),
            },
            None => match text.parse() {
                Ok(hosts) => Ok(Self::Hosts(hosts)),
                Err(_) if text.starts_with('-') => Err(problem("it is negative")),
                Err(_) => Err(problem("it is no whole number")),
            },
        }
    }

    /// The same, of which nothing is no answer.
    pub(crate) fn parse_some(text: &str) -> Result<Self, Problem> {
        let portion = Self::parse(text)?;
        if portion.is_none() {
            return Err(Problem::new(
                format!("'{}' is no host at all", text.trim()),
                "write 1 or more, or a share above 0%",
            ));
        }
        Ok(portion)
    }

    /// Of so many hosts. A share is rounded down, and comes to one host at least where it is above 0.
    pub(crate) fn of(self, all: usize) -> usize {
        match self {
            Self::Hosts(hosts) => hosts.min(all),
            Self::Percent(percent) if percent > 0.0 => {
                // Far below 2^52 hosts.
                let share = (percent * all as f64 / 100.0 + ROUNDING).floor() as usize;
                share.max(1).min(all)
            }
            Self::Percent(_) => 0,
        }
    }

    /// Whether `count` of `all` is more than this. A share is not rounded here: 1 of 10 is more than 9%.
    pub(crate) fn is_exceeded_by(self, count: usize, all: usize) -> bool {
        match self {
            Self::Hosts(hosts) => count > hosts,
            Self::Percent(percent) => count as f64 * 100.0 > percent * all as f64 + ROUNDING,
        }
    }

    fn is_none(self) -> bool {
        matches!(self, Self::Hosts(0)) || matches!(self, Self::Percent(percent) if percent <= 0.0)
    }
}

impl fmt::Display for Portion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hosts(hosts) => write!(f, "{hosts}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_rounded_down_and_is_one_host_at_least() {
        for (percent, all, hosts) in [
            (10.0, 100, 10),
            (29.0, 100, 29),
            (33.3, 1_000, 333),
            (10.0, 19, 1),
            (10.0, 5, 1),
            (50.0, 5, 2),
            (100.0, 7, 7),
            (0.1, 3, 1),
            (0.0, 3, 0),
            (50.0, 0, 0),
        ] {
            assert_eq!(Portion::Percent(percent).of(all), hosts, "{percent}% of {all}");
        }
        assert_eq!((Portion::Hosts(3).of(10), Portion::Hosts(3).of(2)), (3, 2));
    }

    #[test]
    fn a_share_of_failures_is_not_rounded_away() {
        assert!(Portion::Percent(9.0).is_exceeded_by(1, 10));
        assert!(!Portion::Percent(10.0).is_exceeded_by(1, 10));
        assert!(Portion::Percent(0.0).is_exceeded_by(1, 1_000));
        assert!(!Portion::Percent(0.0).is_exceeded_by(0, 0));
        assert!(Portion::Hosts(0).is_exceeded_by(1, 5) && !Portion::Hosts(1).is_exceeded_by(1, 1));
    }

    #[test]
    fn what_is_no_number_of_hosts_is_refused() {
        for (text, told) in [
            ("", "no whole number"),
            ("few", "no whole number"),
            ("1.5", "no whole number"),
            ("-1", "negative"),
            ("101%", "0 to 100"),
            ("-1%", "0 to 100"),
            ("NaN%", "0 to 100"),
            ("%", "no share"),
        ] {
            let problem = Portion::parse(text).expect_err(text);
            assert!(problem.message.contains(told), "{text}: {problem:?}");
        }
        for text in ["0", "0%"] {
            assert!(Portion::parse(text).is_ok());
            assert!(Portion::parse_some(text).expect_err(text).message.contains("no host at all"));
        }
        assert_eq!(Portion::parse(" 2.5 % "), Ok(Portion::Percent(2.5)));
    }
}
