//! Hours of the week in local time, such as `Mon-Fri 20:00-06:00`.

use std::{fmt, str::FromStr, time::Duration};

use jiff::{ToSpan as _, Zoned};
use serde::{Deserialize, Deserializer, de};

const MINUTES_A_DAY: u16 = 24 * 60;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// From a time of some days to a later one, or to one of the next day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// From Monday on: those that it begins on.
    days: [bool; 7],
    /// Since midnight: when it begins, and when it has ended. Where the end is not the later one it is the next day's.
    begin_minute: u16,
    end_minute: u16,
}

/// Windows beside each other.
#[derive(Debug, Clone, Copy)]
pub struct Hours<'a>(pub(super) &'a [Window]);

impl Window {
    /// All the time.
    pub const ALWAYS: Self = Self { days: [true; 7], begin_minute: 0, end_minute: MINUTES_A_DAY };

    /// Whether it is open at a minute of a day, 0 for Monday.
    fn is_open(&self, day: usize, minute: u16) -> bool {
        let before = (day + 6) % 7;
        if self.begin_minute < self.end_minute {
            self.days[day] && (self.begin_minute..self.end_minute).contains(&minute)
        } else {
            (self.days[day] && minute >= self.begin_minute) || (self.days[before] && minute < self.end_minute)
        }
    }
}

impl Hours<'_> {
    /// For how long they stay open from `now` on, in `now`'s time zone, `at_most` at most: nothing where they are closed.
    /// Looks at every minute, as the clock will show it: a change to or from summer time is in it.
    pub fn open_for(&self, now: &Zoned, at_most: Duration) -> Option<Duration> {
        let is_open = |at: &Zoned| {
            let day = usize::from(at.weekday().to_monday_zero_offset().unsigned_abs());
            let minute = u16::from(at.hour().unsigned_abs()) * 60 + u16::from(at.minute().unsigned_abs());
            self.0.iter().any(|window| window.is_open(day, minute))
        };
        if !is_open(now) {
            return None;
        }
        if self.is_always() {
            return Some(at_most);
        }
        let mut open = Duration::ZERO;
        // To the next full minute of the clock, then from one to the next.
        let into_minute = Duration::from_secs(u64::from(now.second().unsigned_abs()))
            + Duration::from_nanos(u64::from(now.subsec_nanosecond().unsigned_abs()));
        let mut step = Duration::from_secs(60) - into_minute;
        while open < at_most {
            open += step;
            step = Duration::from_secs(60);
            let ns = i64::try_from(open.as_nanos()).unwrap_or(i64::MAX);
            match now.checked_add(ns.nanoseconds()) {
                Ok(at) if is_open(&at) => {}
                _ => break,
            }
        }
        Some(open.min(at_most))
    }

    /// Whether they never close.
    pub fn is_always(&self) -> bool {
        self.0.contains(&Window::ALWAYS)
    }
}

/// As it was written, in brackets: `["Mon-Fri 20:00-06:00"]`.
impl fmt::Display for Hours<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let windows: Vec<_> = self.0.iter().map(|window| format!("\"{window}\"")).collect();
        write!(f, "[{}]", windows.join(", "))
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        let mut day = 0;
        while day < 7 {
            if !self.days[day] {
                day += 1;
                continue;
            }
            let last = (day..7).take_while(|day| self.days[*day]).last().unwrap_or(day);
            let comma = if first { "" } else { "," };
            match last == day {
                true => write!(f, "{comma}{}", DAYS[day])?,
                false => write!(f, "{comma}{}-{}", DAYS[day], DAYS[last])?,
            }
            (first, day) = (false, last + 1);
        }
        let time = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        write!(f, " {}-{}", time(self.begin_minute), time(self.end_minute))
    }
}

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| {
            format!("'{text}' are no hours ({what}); write Mon-Fri 20:00-06:00 or Sat,Sun 00:00-24:00")
        };
        let (days, times) = text.trim().split_once(' ').ok_or_else(|| wrong("a space is missing"))?;
        let (begin, end) = times.trim().split_once('-').ok_or_else(|| wrong("no end"))?;
        let day = |name: &str| {
            DAYS.iter().position(|known| known.eq_ignore_ascii_case(name)).ok_or_else(|| wrong("no such day"))
        };
        let minute = |time: &str| -> Option<u16> {
            let (hours, minutes) = time.split_once(':')?;
            let all_digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
            let (hours, minutes): (u16, u16) = (all_digits(hours) && all_digits(minutes))
                .then(|| Some((hours.parse().ok()?, minutes.parse().ok()?)))??;
            let minute = hours * 60 + minutes;
            (minutes < 60 && minute <= MINUTES_A_DAY).then_some(minute)
        };
        let mut window = Self {
            days: [false; 7],
            begin_minute: minute(begin).ok_or_else(|| wrong("no such time"))?,
            end_minute: minute(end).ok_or_else(|| wrong("no such time"))?,
        };
        if window.begin_minute == window.end_minute || window.begin_minute == MINUTES_A_DAY {
            return Err(wrong("it is empty"));
        }
        for part in days.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (day(first)?, day(last)?);
            // Sat-Mon goes round.
            let length = (last + 7 - first) % 7;
            (0..=length).for_each(|after| window.days[(first + after) % 7] = true);
        }
        Ok(window)
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use jiff::{civil::date, tz::TimeZone};

    use super::*;

    fn window(text: &str) -> Window {
        text.parse().unwrap()
    }

    /// In central Europe, on a day of November 2026; the 23rd is a Monday.
    fn at(day: i8, hour: i8, minute: i8) -> Zoned {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        date(2026, 11, day).at(hour, minute, 0, 0).to_zoned(zone).unwrap()
    }

    fn open_minutes(windows: &[&str], now: &Zoned) -> Option<u64> {
        let windows: Vec<_> = windows.iter().map(|text| window(text)).collect();
        let open = Hours(&windows).open_for(now, Duration::from_secs(48 * 3_600));
        open.map(|open| open.as_secs() / 60)
    }

    #[test]
    fn a_night_belongs_to_the_day_that_it_begins_on() {
        let nights = ["Mon-Fri 20:00-06:00"];
        assert_eq!(open_minutes(&nights, &at(23, 19, 59)), None);
        assert_eq!(open_minutes(&nights, &at(23, 20, 0)), Some(600));
        assert_eq!(open_minutes(&nights, &at(24, 5, 30)), Some(30));
        // The night to Saturday is Friday's, that to Sunday is nobody's.
        assert_eq!(open_minutes(&nights, &at(28, 5, 0)), Some(60));
        assert_eq!(open_minutes(&nights, &at(28, 21, 0)), None);
        assert_eq!(open_minutes(&nights, &at(23, 5, 0)), None);
    }

    #[test]
    fn windows_that_touch_are_one() {
        let week = ["Mon-Fri 20:00-24:00", "Tue-Sat 00:00-06:00"];
        assert_eq!(open_minutes(&week, &at(23, 22, 0)), Some(480));
        assert_eq!(open_minutes(&["Mon-Sun 00:00-24:00"], &at(23, 22, 0)), Some(48 * 60));
        assert_eq!(open_minutes(&["Sat-Mon 00:00-24:00"], &at(29, 12, 0)), Some(36 * 60));
    }

    #[test]
    fn a_night_with_a_change_of_the_clock_is_as_long_as_it_is() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let night = window("Sat 20:00-06:00");
        let open = |month, day| {
            let now = date(2026, month, day).at(20, 0, 0, 0).to_zoned(zone.clone()).unwrap();
            Hours(&[night]).open_for(&now, Duration::from_secs(48 * 3_600)).unwrap().as_secs() / 3_600
        };
        assert_eq!((open(3, 28), open(10, 24), open(11, 21)), (9, 11, 10));
    }

    #[test]
    fn seconds_count() {
        let now = at(23, 5, 59).checked_add(30.seconds()).unwrap();
        let open = Hours(&[window("Mon 00:00-06:00")]).open_for(&now, Duration::from_secs(3_600));
        assert_eq!(open, Some(Duration::from_secs(30)));
    }

    #[test]
    fn it_says_what_was_written() {
        for text in ["Mon-Fri 20:00-06:00", "Mon,Wed-Thu,Sun 00:00-24:00", "Sat 08:05-09:00"] {
            assert_eq!(window(text).to_string(), text);
        }
        assert_eq!(window("sat-mon 01:00-02:00").to_string(), "Mon,Sat-Sun 01:00-02:00");
        assert_eq!(Window::ALWAYS.to_string(), "Mon-Sun 00:00-24:00");
    }

    #[test]
    fn what_are_no_hours_is_refused_with_an_example() {
        for text in [
            "",
            "Mon",
            "Mon 20:00",
            "Mon 20-06",
            "Mon 20:60-21:00",
            "Mon 24:01-01:00",
            "Mon 24:00-06:00",
            "Moon 20:00-21:00",
            "Mon-Fri 20:00-20:00",
            "Mon- 20:00-21:00",
            "Mon 2:00-3:00",
            "Mon +2:00-03:00",
        ] {
            let message = text.parse::<Window>().unwrap_err();
            assert!(message.contains("write Mon-Fri 20:00-06:00"), "{message}");
        }
    }
}
