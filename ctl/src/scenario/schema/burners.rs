//! The kinds of burners and their keys.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::values::{
    Cores, Duration, Number, Percent, Size, SizeOrPercent, Text, Whole, WholePercent, YesOrNo, number_or,
    value, words,
};

/// One kind of load with its settings.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Burner {
    Cpu(Box<Cpu>),
    Memory(Box<Memory>),
    Disk(Box<Disk>),
    Network(Box<Network>),
    Http(Box<Http>),
}

const VARIABLE: &str = r"\$\{";

/// A load over time.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Load {
    Level(Percent),
    /// A load over time, such as "sine:10..90/10s".
    Curve(Text),
    Ramp(Ramp),
}

/// A straight line over the whole phase.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Ramp {
    /// At its beginning, percent of a core.
    from: Number,
    /// At its end.
    to: Number,
}

words!(
    /// Whose load it is.
    Mode, "own", "core"
);
words!(
    /// The instructions that it computes with.
    Isa, "auto", "portable", "avx2", "avx512"
);
words!(
    /// What a CPU burner computes.
    Kernel, "auto", "fma", "power", "integer", "branch", "sqrt-div", "crypto", "matrix", "cache", "context-switch", "mixed"
);
words!(
    /// Of floating-point numbers.
    Precision, "double", "single"
);
words!(
    /// Of memory.
    Level, "l1", "l2", "l3", "dram"
);
words!(
    /// What a memory burner does.
    Method, "fill", "stream", "read", "write", "latency", "verify", "fault", "pressure", "occupy"
);
words!(
    /// What pages memory is made of.
    Pages, "auto", "small", "transparent", "huge"
);
words!(
    /// A loop over memory.
    Loop, "copy", "scale", "add", "triad"
);
words!(
    /// What memory is filled with.
    Pattern, "walking", "checkerboard", "inversions", "random", "address"
);
words!(
    /// What a disk burner does.
    Access, "read", "write", "readwrite", "randread", "randwrite", "randrw", "fill"
);
words!(
    /// How I/Os reach the kernel.
    Engine, "auto", "io-uring", "threads"
);
words!(
    /// What flows between the hosts.
    Protocol, "tcp", "udp", "rr", "connect"
);
words!(
    /// Of a request.
    HttpMethod, "GET", "HEAD", "POST", "PUT", "DELETE"
);
words!(
    /// Of HTTP.
    HttpProtocol, "auto", "http1", "http2"
);
value!(
    /// How TCP sends without copying.
    ZeroCopy, json_schema!({ "anyOf": [
        { "type": "boolean" }, { "enum": ["sendfile", "msg"] }, { "type": "string", "pattern": VARIABLE }
    ] })
);
value!(
    /// A rate, such as "2.5G", or a whole number.
    Rate, number_or(&serde_json::json!({ "type": "integer", "minimum": 0 }), r"^\s*[0-9.]+\s*[A-Za-z/]*\s*$")
);
value!(
    /// A size, such as "4KiB", or several with their shares: "4KiB:70,64KiB:30".
    Blocks, json_schema!({ "type": ["integer", "string"] })
);
value!(
    /// Statuses, such as "2xx,404".
    Statuses, json_schema!({ "type": ["integer", "string"] })
);

/// Computes on pinned workers, and checks every result.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Cpu {
    kind: CpuKind,
    /// It stands only where this text is not empty.
    when: Option<Text>,
    /// Cores inside the agent's cpuset; all unless it is said.
    cores: Option<Cores>,
    /// 1 to 1,024, dealt to the cores in turn; one on each unless it is said.
    workers: Option<Whole>,
    /// Of each core, percent, or a load over time.
    load: Option<Load>,
    /// Whose load it is.
    mode: Option<Mode>,
    /// Percentage points that the mean may be off.
    tolerance: Option<Number>,
    /// Workers begin their periods together.
    in_step: Option<YesOrNo>,
    /// What is computed.
    kernel: Option<Kernel>,
    /// With which instructions.
    isa: Option<Isa>,
    /// Of floating-point numbers.
    precision: Option<Precision>,
    /// Percent of the steps that move a line of memory.
    memory_share: Option<WholePercent>,
    /// Of cache and mixed.
    level: Option<Level>,
    /// The worker whose result is corrupted, and after how long: "1@2s".
    inject_error: Option<Text>,
}

/// Makes memory resident and uses it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("anyOf" = [{ "required": ["size"] }, { "required": ["used"] }]))]
pub(super) struct Memory {
    kind: MemoryKind,
    /// It stands only where this text is not empty.
    when: Option<Text>,
    /// How much, or "80%" of what is available. Needed, but to occupy.
    size: Option<SizeOrPercent>,
    /// Of occupy: percent of the host's memory in use, or that over time.
    used: Option<Load>,
    /// What is done with it.
    method: Option<Method>,
    /// One worker on each.
    cores: Option<Cores>,
    /// What pages it is made of.
    pages: Option<Pages>,
    /// The node that all of it is taken from.
    numa_node: Option<Whole>,
    /// Filled in a second.
    fill_rate: Option<Size>,
    /// With which instructions.
    isa: Option<Isa>,
    /// Of each core, percent, or a load over time.
    load: Option<Load>,
    /// Whose load it is.
    mode: Option<Mode>,
    /// Percentage points that the mean may be off.
    tolerance: Option<Number>,
    /// Workers begin their periods together.
    in_step: Option<YesOrNo>,
    /// Of stream.
    loops: Option<Vec<Loop>>,
    /// Of verify.
    patterns: Option<Vec<Pattern>>,
    /// Of verify: between a sweep and the one that reads it back.
    delay: Option<Duration>,
    /// Of pressure: percent of the time that tasks wait for memory.
    stalled: Option<Percent>,
    /// Of pressure: reclaimed in a second.
    reclaim: Option<Size>,
    /// Of verify: the worker that flips a bit of its own memory.
    inject_error: Option<Whole>,
}

/// Reads and writes files that leave nothing behind, or an expendable device; or fills a file system.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Disk {
    kind: DiskKind,
    /// It stands only where this text is not empty.
    when: Option<Text>,
    /// An absolute path of a folder, or of an expendable device.
    path: Text,
    /// Of each job's file. Needed, but to fill.
    size: Option<Size>,
    /// What is done.
    rw: Option<Access>,
    /// Percent of reads.
    reads: Option<WholePercent>,
    /// Of one I/O, or of several with their shares.
    block: Option<Blocks>,
    /// I/Os in flight, of each job.
    depth: Option<Whole>,
    /// Workers with a file of their own.
    jobs: Option<Whole>,
    /// That jobs are pinned to.
    cores: Option<Cores>,
    /// I/Os a second, of all jobs together.
    rate: Option<Whole>,
    /// Bytes a second instead.
    bandwidth: Option<Size>,
    /// Percent of that rate that may be undone at the end.
    tolerance: Option<Percent>,
    /// Percent of that rate, or that over time.
    load: Option<Load>,
    /// An fsync after each so many writes.
    fsync: Option<Whole>,
    /// Blocks carry what they are, and are compared when read.
    verify: Option<YesOrNo>,
    /// With verify: after which the file system is mounted anew.
    remount: Option<Duration>,
    /// Spoils one block.
    inject_error: Option<YesOrNo>,
    /// How I/Os reach the kernel.
    engine: Option<Engine>,
    /// Percent of the file system that are to be taken.
    fill: Option<Percent>,
}

/// Exchanges data with the sink of another agent.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Network {
    kind: NetworkKind,
    /// It stands only where this text is not empty.
    when: Option<Text>,
    /// The sink: "HOST" or "HOST:PORT".
    peer: Text,
    /// What flows.
    protocol: Option<Protocol>,
    /// 1 to 1,024.
    streams: Option<Whole>,
    /// Bits a second of tcp and udp; requests or connections a second of the others.
    rate: Option<Rate>,
    /// Percent of that rate that may be undone at the end.
    tolerance: Option<Percent>,
    /// Percent of tcp's rate, or that over time.
    load: Option<Load>,
    /// Bytes of a datagram, a request, or a write.
    packet: Option<Size>,
    /// Of each data socket.
    buffer: Option<Size>,
    /// Send without copying.
    zerocopy: Option<ZeroCopy>,
    /// The sink sends as well.
    both: Option<YesOrNo>,
    /// TCP's congestion control.
    congestion: Option<Text>,
    /// A worker on each.
    cores: Option<Cores>,
}

/// Sends requests to a service that the agent's configuration allows.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Http {
    kind: HttpKind,
    /// It stands only where this text is not empty.
    when: Option<Text>,
    /// "http://HOST:PORT/PATH" or "https://…".
    url: Text,
    /// Of each request.
    method: Option<HttpMethod>,
    /// Such as ["Accept: text/html"].
    headers: Option<Vec<Text>>,
    /// Sent with each request.
    body: Option<Text>,
    /// Sent with each request instead.
    body_size: Option<Size>,
    /// Of HTTP.
    protocol: Option<HttpProtocol>,
    /// 1 to 10,000.
    connections: Option<Whole>,
    /// Requests at once on an HTTP/2 connection.
    streams: Option<Whole>,
    /// Requests a second, due at fixed instants.
    rate: Option<Rate>,
    /// Percent of that rate that may be undone at the end.
    tolerance: Option<Percent>,
    /// A connection for each request.
    new_connection: Option<YesOrNo>,
    /// TLS sessions may be resumed.
    resume: Option<YesOrNo>,
    /// Of one attempt.
    timeout: Option<Duration>,
    /// Further attempts.
    retries: Option<Whole>,
    /// Statuses that count as success.
    expect: Option<Statuses>,
    /// Take any certificate, where the agent allows it.
    insecure: Option<YesOrNo>,
    /// Percent of the requests that may fail.
    max_errors: Option<Percent>,
    /// A worker on each.
    cores: Option<Cores>,
}

/// The word that says which kind it is.
macro_rules! kinds {
    ($($name:ident, $word:literal;)+) => {
        $(value!(
            /// Which kind of burner it is.
            $name, json_schema!({ "const": $word })
        );)+
    };
}

kinds! {
    CpuKind, "cpu";
    MemoryKind, "memory";
    DiskKind, "disk";
    NetworkKind, "network";
    HttpKind, "http";
}
