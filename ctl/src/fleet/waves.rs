//! Waves: which hosts of a fleet run together, one wave after the other, each only once the one before it was good.
//!
//! A wave says how many hosts of the fleet have run when it is over: `1,10%,50%,100%` is one host, then as many more as make a
//! tenth, a half, all. What is left then is the last wave. Bounds hold for what runs at once: a wave that would break one is
//! parted. Pure: the same fleet and the same wishes give the same waves.

use std::collections::{BTreeSet, HashMap};

use ssts_proto::nearest::nearest;

use super::{Fleet, Member, Portion};
use crate::error::Failure;

/// Sums of watts are off by less.
const ROUNDING_W: f64 = 1e-6;
/// Hosts that a message names.
const MOST_NAMED: usize = 5;

/// What is asked of waves.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct WaveOptions {
    /// How many hosts have run after each. None: all run at once.
    pub(crate) waves: Vec<Portion>,
    /// Of hosts with one value of a domain at most so many at once.
    pub(crate) max_per: Vec<MaxPer>,
    pub(crate) max_watts: Vec<MaxWatts>,
    /// Failures that are borne before later waves stay where they are; none where it is not said.
    pub(crate) max_failures: Option<Portion>,
}

/// A bound on hosts with one value of a failure domain.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MaxPer {
    /// The label's name, such as `rack`.
    pub(crate) domain: String,
    /// A share is one of all hosts with that value.
    pub(crate) most: Portion,
}

/// A bound on what hosts may draw together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MaxWatts {
    /// The label's name; the whole fleet where there is none.
    pub(crate) domain: Option<String>,
    pub(crate) watts: f64,
}

/// Hosts that run together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wave {
    /// Of the fleet's members, in the inventory's order.
    pub(crate) members: Vec<usize>,
    /// The wish that it comes of, such as `10%`.
    pub(crate) asked: String,
    /// Where bounds parted it: which part, from 1, of how many.
    pub(crate) part: Option<(usize, usize)>,
    /// What its hosts may draw together, where all say what they do.
    pub(crate) watts: Option<f64>,
}

impl WaveOptions {
    /// Whether anything is asked for.
    pub(crate) fn is_asked(&self) -> bool {
        *self != Self::default()
    }

    /// All waves, in order. Every host is in one of them.
    ///
    /// # Errors
    /// A bound that no wave could keep, or that can't be judged.
    pub(crate) fn draw(&self, fleet: &Fleet) -> Result<Vec<Wave>, Failure> {
        let all = fleet.members.len();
        let bounds = self.bounds(fleet)?;
        let mut draw = Draw::new(fleet, &bounds, &self.domains(fleet));
        let mut waves = Vec::new();
        for (target, asked) in self.targets(all)? {
            let parts = draw.until(target);
            let count = parts.len();
            waves.extend(parts.into_iter().enumerate().map(|(index, members)| Wave {
                watts: members.iter().map(|member| fleet.members[*member].watts).sum(),
                members,
                asked: asked.clone(),
                part: (count > 1).then_some((index + 1, count)),
            }));
        }
        Ok(waves)
    }

    /// How many hosts are to have run after each wave, and the wish that it comes of. They rise, and the last is all.
    fn targets(&self, all: usize) -> Result<Vec<(usize, String)>, Failure> {
        let mut targets: Vec<(usize, String)> = Vec::new();
        let mut before = (0, String::new());
        for portion in &self.waves {
            let (hosts, asked) = (portion.of(all), portion.to_string());
            if hosts < before.0 {
                return Err(Failure::usage(
                    format!(
                        "a wave of {asked} after one of {}: of {all} hosts that is {hosts} after {}",
                        before.1, before.0
                    ),
                    "a wave says how many of all hosts have run after it: let them rise, such as --wave 1,10%,50%,100%",
                ));
            }
            before = (hosts, asked.clone());
            let done = targets.last().map_or(0, |(done, _)| *done);
            // Of a small fleet two shares may be as many hosts: each wave has one more at least, while there are some.
            let target = hosts.max(done + 1).min(all);
            if target > done {
                targets.push((target, asked));
            }
        }
        if targets.last().is_none_or(|(done, _)| *done < all) && all > 0 {
            targets.push((all, "100%".into()));
        }
        Ok(targets)
    }

    /// The labels by which hosts of a wave are spread: the fleet's failure domains, and those that bounds name.
    fn domains(&self, fleet: &Fleet) -> Vec<String> {
        let named = self.max_per.iter().map(|bound| &bound.domain);
        let drawn = self.max_watts.iter().filter_map(|bound| bound.domain.as_ref());
        let mut domains: Vec<String> = Vec::new();
        for domain in fleet.domains.iter().chain(named).chain(drawn) {
            if !domains.contains(domain) {
                domains.push(domain.clone());
            }
        }
        domains
    }

    fn bounds(&self, fleet: &Fleet) -> Result<Vec<Bound>, Failure> {
        let mut bounds = Vec::new();
        for MaxPer { domain, most } in &self.max_per {
            let places = Places::needed(fleet, domain, "--max-per")?;
            let most = places.counts().into_iter().map(|hosts| most.of(hosts) as f64).collect();
            bounds.push(Bound { weights: vec![1.0; fleet.members.len()], places, most });
        }
        for MaxWatts { domain, watts } in &self.max_watts {
            let weights = drawn(fleet)?;
            let places = match domain {
                Some(domain) => Places::needed(fleet, domain, "--max-watts")?,
                None => Places::one(fleet),
            };
            if let Some((member, weight)) =
                fleet.members.iter().zip(&weights).find(|(_, weight)| **weight > watts + ROUNDING_W)
            {
                let of = domain.as_ref().map_or_else(String::new, |domain| format!(" per {domain}"));
                return Err(Failure::usage(
                    format!(
                        "host {} alone may draw {weight} W, and at most {watts} W{of} may be drawn at once",
                        member.name
                    ),
                    "raise --max-watts, mend the host's watts in the inventory, or leave the host out with --exclude",
                ));
            }
            bounds.push(Bound { most: vec![*watts; places.count], weights, places });
        }
        Ok(bounds)
    }
}

/// What every host may draw.
fn drawn(fleet: &Fleet) -> Result<Vec<f64>, Failure> {
    let unknown: Vec<&str> = (fleet.members.iter())
        .filter(|member| member.watts.is_none())
        .map(|member| member.name.as_str())
        .collect();
    if unknown.is_empty() {
        return Ok(fleet.members.iter().filter_map(|member| member.watts).collect());
    }
    Err(Failure::usage(
        format!("--max-watts, and of {} it is not known how much it draws", named(&unknown)),
        "give each host `watts` in the inventory, or leave --max-watts out",
    ))
}

/// The first few names, and how many more there are.
pub(crate) fn named(names: &[&str]) -> String {
    let shown = names.iter().take(MOST_NAMED).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MOST_NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Which value of a domain each host has: a number for each value.
#[derive(Debug)]
struct Places {
    of: Vec<usize>,
    count: usize,
}

impl Places {
    /// All hosts have the same.
    fn one(fleet: &Fleet) -> Self {
        Self { of: vec![0; fleet.members.len()], count: 1 }
    }

    /// By a label. A host without it has a place of its own: it shares nothing with others.
    fn by<'f>(fleet: &'f Fleet, domain: &str) -> Self {
        let mut known = HashMap::new();
        let mut count = 0;
        let mut next = || {
            count += 1;
            count - 1
        };
        let place = |member: &'f Member| match member.labels.get(domain) {
            Some(value) => *known.entry(value.as_str()).or_insert_with(&mut next),
            None => next(),
        };
        let of = fleet.members.iter().map(place).collect();
        Self { of, count }
    }

    /// By a label that every host must have.
    fn needed(fleet: &Fleet, domain: &str, flag: &str) -> Result<Self, Failure> {
        let without: Vec<&str> = (fleet.members.iter())
            .filter(|member| !member.labels.contains_key(domain))
            .map(|member| member.name.as_str())
            .collect();
        if without.is_empty() {
            return Ok(Self::by(fleet, domain));
        }
        let known: BTreeSet<&str> =
            fleet.members.iter().flat_map(|member| member.labels.keys().map(String::as_str)).collect();
        let hint = nearest(domain, known.iter().copied().filter(|known| *known != domain))
            .map_or_else(String::new, |near| format!("did you mean '{near}'? "));
        let who = if without.len() == fleet.members.len() {
            "no host has it".to_owned()
        } else {
            format!("these hosts have none: {}", named(&without))
        };
        Err(Failure::usage(
            format!("{flag} asks for a label '{domain}', and {who}"),
            format!("{hint}give each host the label in the inventory, or leave the bound out"),
        ))
    }

    /// Hosts at each.
    fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.count];
        for place in &self.of {
            counts[*place] += 1;
        }
        counts
    }
}

/// What hosts of one place may come to at once.
#[derive(Debug)]
struct Bound {
    places: Places,
    /// Of each host.
    weights: Vec<f64>,
    /// Of each place.
    most: Vec<f64>,
}

/// Hosts drawn one after the other.
struct Draw<'b> {
    bounds: &'b [Bound],
    domains: Vec<Places>,
    /// Not drawn yet, in the inventory's order.
    left: Vec<usize>,
    done: usize,
}

impl<'b> Draw<'b> {
    fn new(fleet: &Fleet, bounds: &'b [Bound], domains: &[String]) -> Self {
        Self {
            bounds,
            domains: domains.iter().map(|domain| Places::by(fleet, domain)).collect(),
            left: (0..fleet.members.len()).collect(),
            done: 0,
        }
    }

    /// As many waves as bounds make of it, until so many hosts were drawn.
    fn until(&mut self, target: usize) -> Vec<Vec<usize>> {
        let mut parts = Vec::new();
        while self.done < target && !self.left.is_empty() {
            let part = self.part(target - self.done);
            self.done += part.len();
            parts.push(part);
        }
        parts
    }

    /// One wave, of so many hosts at most.
    fn part(&mut self, most: usize) -> Vec<usize> {
        let mut used: Vec<Vec<f64>> = self.bounds.iter().map(|bound| vec![0.0; bound.places.count]).collect();
        let mut crowd: Vec<Vec<usize>> = self.domains.iter().map(|places| vec![0; places.count]).collect();
        let mut drawn = Vec::new();
        while drawn.len() < most {
            // A host alone keeps every bound: a wave has one at least, and this comes to an end.
            let Some(at) = self.next(&used, &crowd).or(drawn.is_empty().then_some(0)) else { break };
            let member = self.left.remove(at);
            for (bound, used) in self.bounds.iter().zip(&mut used) {
                used[bound.places.of[member]] += bound.weights[member];
            }
            for (places, crowd) in self.domains.iter().zip(&mut crowd) {
                crowd[places.of[member]] += 1;
            }
            drawn.push(member);
        }
        drawn.sort_unstable();
        drawn
    }

    /// Of those that keep the bounds the one that shares its domains with the fewest of the wave; of several the first.
    fn next(&self, used: &[Vec<f64>], crowd: &[Vec<usize>]) -> Option<usize> {
        let fits = |member: usize| {
            self.bounds.iter().zip(used).all(|(bound, used)| {
                let place = bound.places.of[member];
                used[place] + bound.weights[member] <= bound.most[place] + ROUNDING_W
            })
        };
        let company = |member: usize| {
            let counts = self.domains.iter().zip(crowd).map(|(places, crowd)| crowd[places.of[member]]);
            counts.fold((0, 0), |(most, sum), count| (most.max(count), sum + count))
        };
        let candidates = self.left.iter().enumerate().filter(|(_, member)| fits(**member));
        candidates.min_by_key(|(at, member)| (company(**member), *at)).map(|(at, _)| at)
    }
}

#[cfg(test)]
#[path = "waves_tests.rs"]
mod tests;
