//! What a fleet run is asked beside its scenario: waves, bounds, and what must hold of the fleet as a whole. From the
//! scenario's `[fleet]`, and from the command line, which says the last word.

use super::{FleetThreshold, WaveOptions};

/// All of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct FleetSpec {
    pub(crate) waves: WaveOptions,
    pub(crate) thresholds: Vec<FleetThreshold>,
}

impl FleetSpec {
    /// Whether anything is asked for.
    pub(crate) fn is_asked(&self) -> bool {
        self.waves.is_asked() || !self.thresholds.is_empty()
    }

    /// What `over` says, and below it this: bounds domain by domain, thresholds of both.
    pub(crate) fn under(mut self, over: Self) -> Self {
        let Self { waves: WaveOptions { waves, max_per, max_watts, max_failures }, thresholds } = over;
        if !waves.is_empty() {
            self.waves.waves = waves;
        }
        self.waves.max_per.retain(|own| max_per.iter().all(|other| other.domain != own.domain));
        self.waves.max_per.extend(max_per);
        self.waves.max_watts.retain(|own| max_watts.iter().all(|other| other.domain != own.domain));
        self.waves.max_watts.extend(max_watts);
        self.waves.max_failures = max_failures.or(self.waves.max_failures);
        self.thresholds.extend(thresholds);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{MaxPer, MaxWatts, Portion};

    #[test]
    fn the_command_line_says_the_last_word() {
        let per = |domain: &str, most: usize| MaxPer { domain: domain.into(), most: Portion::Hosts(most) };
        let threshold = |text: &str| FleetThreshold::parse(text).unwrap();
        let file = FleetSpec {
            waves: WaveOptions {
                waves: vec![Portion::Hosts(1)],
                max_per: vec![per("rack", 1), per("power", 2)],
                max_watts: vec![MaxWatts { domain: None, watts: 100.0 }],
                max_failures: Some(Portion::Hosts(3)),
            },
            thresholds: vec![threshold("hosts failed <= 1%")],
        };
        let line = FleetSpec {
            waves: WaveOptions { max_per: vec![per("rack", 4)], ..WaveOptions::default() },
            thresholds: vec![threshold("hosts lost == 0")],
        };
        assert!(file.is_asked() && line.is_asked() && !FleetSpec::default().is_asked());
        let both = file.clone().under(line);
        assert_eq!(both.waves.max_per, [per("power", 2), per("rack", 4)]);
        assert_eq!(both.waves.waves, file.waves.waves);
        assert_eq!(both.waves.max_watts, file.waves.max_watts);
        assert_eq!(both.waves.max_failures, Some(Portion::Hosts(3)));
        assert_eq!(both.thresholds.len(), 2);
        assert_eq!(file.clone().under(FleetSpec::default()), file);
    }
}
