//! What a start would come to, for people.

use ssts_proto::{
    guards,
    v1::{
        Burner, CpuBurner, DiskBurner, GuardOrigin, HttpBurner, MemoryBurner, NetworkBurner, PlanResponse,
        Profile, Scenario, burner::Kind, memory_burner::Size, profile::Shape,
    },
};

use super::{Align, Document, Table, Tone, decisions};
use crate::{json, scenario, text};

/// The whole plan; `asked` is the scenario as it was sent, `left_out` tells of burners that are not in it.
pub(crate) fn plan_document(response: &PlanResponse, asked: &Scenario, left_out: &[String]) -> Document {
    let scenario = response.scenario.as_ref().unwrap_or(asked);
    let (words, tone) = if !response.violations.is_empty() {
        ("would be refused", Tone::Bad)
    } else if !response.obstacles.is_empty() {
        ("could not start just now", Tone::Caution)
    } else {
        ("would start", Tone::Good)
    };
    let mut document = Document::default();
    document.title(&format!("{} {words}", scenario.name), tone);
    document.fact("duration", text::duration(scenario::duration_ms(scenario)));
    document.fact("seed", scenario.seed.to_string());
    if let Some(limits) = &response.limits {
        let duration = limits.max_duration_ms.map(text::duration).unwrap_or_default();
        document.fact("longest duration", duration);
        let memory = limits.min_available_memory_bytes.map(|bytes| text::bytes(bytes as f64));
        document.fact("memory kept", memory.unwrap_or_default());
        let celsius = limits.max_temperature_celsius.map(|celsius| format!("{celsius} °C"));
        document.fact("highest temperature", celsius.unwrap_or_default());
    }
    for left_out in left_out {
        document.line(left_out);
    }
    for obstacle in &response.obstacles {
        document.line(obstacle);
    }
    document.section("Refused by", refusals(response));
    document.section("Burners", burners(response, scenario));
    document.section("Guards of the scenario", guards(response));
    let of_host = response.guards.iter().filter(|guard| guard.origin() != GuardOrigin::Requested).count();
    document.line(&format!("{of_host} guards of the host look after it; `sstsctl status` shows them"));
    document.section("Thresholds", thresholds(scenario));
    document.section("Trends", super::trends::asked(&scenario.trends));
    document.section("Decisions", decisions::planned(scenario));
    document
}

fn refusals(response: &PlanResponse) -> Table {
    let mut table = Table::new(&[
        ("field", Align::Left),
        ("rule", Align::Left),
        ("asked", Align::Left),
        ("allowed", Align::Left),
        ("why", Align::Left),
    ]);
    for violation in &response.violations {
        table.row([
            violation.field.clone(),
            violation.rule.clone(),
            violation.asked.clone(),
            violation.allowed.clone(),
            violation.message.clone(),
        ]);
    }
    table
}

fn burners(response: &PlanResponse, scenario: &Scenario) -> Table {
    let mut table = Table::new(&[
        ("phase", Align::Left),
        ("duration", Align::Right),
        ("burner", Align::Left),
        ("does", Align::Left),
        ("workers", Align::Right),
        ("cores", Align::Left),
        ("memory", Align::Right),
        ("disk", Align::Right),
    ]);
    for (index, phase) in scenario.phases.iter().enumerate() {
        let duration = text::duration(phase.duration_ms);
        if phase.burners.is_empty() {
            table.row([phase.name.clone(), duration.clone(), String::new(), "observes".into()]);
        }
        for (of_phase, burner) in phase.burners.iter().enumerate() {
            let planned = json::planned(response, index, of_phase);
            let bytes = |bytes: Option<u64>| bytes.map(|bytes| text::bytes(bytes as f64)).unwrap_or_default();
            table.row([
                phase.name.clone(),
                duration.clone(),
                scenario::burner_kind(burner).to_owned(),
                burner_words(burner),
                planned.map(|planned| planned.workers.to_string()).unwrap_or_default(),
                planned.map(|planned| text::core_list(&planned.cores)).unwrap_or_default(),
                bytes(planned.and_then(|planned| planned.memory_bytes)),
                bytes(planned.and_then(|planned| planned.disk_bytes)),
            ]);
        }
    }
    table
}

fn guards(response: &PlanResponse) -> Table {
    let mut table = Table::new(&[
        ("guard", Align::Left),
        ("metric", Align::Left),
        ("limit", Align::Left),
        ("reaction", Align::Left),
    ]);
    for status in response.guards.iter().filter(|guard| guard.origin() == GuardOrigin::Requested) {
        let guard = status.guard.clone().unwrap_or_default();
        table.row([
            guard.name.clone(),
            guard.metric.clone(),
            guards::limit(&guard, &status.unit),
            guards::reaction_name(guard.reaction()).to_owned(),
        ]);
    }
    table
}

fn thresholds(scenario: &Scenario) -> Table {
    let mut table = Table::new(&[
        ("threshold", Align::Left),
        ("bound", Align::Left),
        ("of", Align::Left),
        ("if it fails", Align::Left),
    ]);
    for threshold in &scenario.thresholds {
        table.row([
            threshold.that.clone(),
            super::threshold_bound(threshold).unwrap_or_default(),
            if threshold.phase.is_empty() { "the run".into() } else { format!("phase {}", threshold.phase) },
            if threshold.abort_on_fail { "the run ends" } else { "told at the end" }.to_owned(),
        ]);
    }
    table
}

/// What a burner does, in a few words.
pub(crate) fn burner_words(burner: &Burner) -> String {
    let parts = match &burner.kind {
        Some(Kind::Cpu(cpu)) => cpu_words(cpu),
        Some(Kind::Memory(memory)) => memory_words(memory),
        Some(Kind::Disk(disk)) => disk_words(disk),
        Some(Kind::Network(network)) => network_words(network),
        Some(Kind::Http(http)) => http_words(http),
        None => Vec::new(),
    };
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

fn cpu_words(cpu: &CpuBurner) -> Vec<String> {
    vec![
        json::plain(cpu.kernel().as_str_name(), "CPU_KERNEL_").replace("unspecified", "auto"),
        load(cpu.load.as_ref()),
    ]
}

fn memory_words(memory: &MemoryBurner) -> Vec<String> {
    let size = match memory.size {
        Some(Size::SizeBytes(bytes)) => text::bytes(bytes as f64),
        Some(Size::SizePercent(percent)) => format!("{percent} % of what is available"),
        None => String::new(),
    };
    let method = json::plain(memory.method().as_str_name(), "MEMORY_METHOD_").replace("unspecified", "fill");
    let used = if memory.used.is_some() {
        format!("{} of the host's memory in use", load(memory.used.as_ref()))
    } else {
        String::new()
    };
    vec![method, size, used, if memory.load.is_some() { load(memory.load.as_ref()) } else { String::new() }]
}

fn disk_words(disk: &DiskBurner) -> Vec<String> {
    let rate = match (disk.rate_per_s, disk.rate_bytes_per_s) {
        (Some(rate), _) => format!("{rate} I/Os/s"),
        (None, Some(bytes)) => format!("{}/s", text::bytes(bytes as f64)),
        (None, None) => String::new(),
    };
    let rate = of_rate(disk.load.as_ref(), rate);
    vec![
        json::plain(disk.access().as_str_name(), "DISK_ACCESS_"),
        disk.block_bytes.map(|bytes| format!("{} blocks", text::bytes(f64::from(bytes)))).unwrap_or_default(),
        disk.depth.map(|depth| format!("depth {depth}")).unwrap_or_default(),
        rate,
        if disk.verify { "verified".into() } else { String::new() },
        format!("at {}", disk.path),
    ]
}

fn network_words(network: &NetworkBurner) -> Vec<String> {
    let rate = match (network.rate_bits_per_s, network.rate_per_s) {
        (Some(rate), _) => format!("{} bit/s", text::count(rate as f64)),
        (None, Some(rate)) => format!("{rate}/s"),
        (None, None) => String::new(),
    };
    let rate = of_rate(network.load.as_ref(), rate);
    vec![
        json::plain(network.protocol().as_str_name(), "NETWORK_PROTOCOL_").replace("unspecified", "tcp"),
        rate,
        format!("to {}", network.peer),
    ]
}

fn http_words(http: &HttpBurner) -> Vec<String> {
    vec![
        http.rate_per_s.map(|rate| format!("{rate} requests/s")).unwrap_or_default(),
        format!("to {}", http.url),
    ]
}

/// A rate, and what is asked of it over time.
fn of_rate(profile: Option<&Profile>, rate: String) -> String {
    if profile.is_some() { format!("{} of {rate}", load(profile)) } else { rate }
}

fn load(profile: Option<&Profile>) -> String {
    let Some(shape) = profile.and_then(|profile| profile.shape.as_ref()) else {
        return "all that the cores give".into();
    };
    match shape {
        Shape::Constant(constant) => format!("{} %", constant.load_percent),
        Shape::Ramp(ramp) => format!("{} to {} %", ramp.from_percent, ramp.to_percent),
        Shape::Steps(steps) => format!("{} steps", steps.steps.len()),
        Shape::Sine(sine) => format!("sine {} to {} %", sine.low_percent, sine.high_percent),
        Shape::Square(square) => format!("square {} to {} %", square.low_percent, square.high_percent),
        Shape::Sawtooth(saw) => format!("sawtooth {} to {} %", saw.from_percent, saw.to_percent),
        Shape::RandomWalk(walk) => format!("walk {} to {} %", walk.low_percent, walk.high_percent),
        Shape::Trace(trace) => format!("trace of {} points", trace.points.len()),
    }
}
