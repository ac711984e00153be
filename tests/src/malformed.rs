//! Requests that nobody wrote: of each method's message by the contract's own descriptors, with values that are usual, extreme or
//! wrong, and then with bytes changed.

use std::collections::HashMap;

use fastrand::Rng;
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint},
};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};
use ssts_proto::{
    FILE_DESCRIPTOR_SET,
    v1::{self, Scenario},
    validate::{self, Violations},
};

/// Messages in messages in messages.
const MAX_DEPTH: u32 = 8;
/// Of a request, those of messages in it included.
const MAX_FIELDS: u32 = 4_000;

/// What an agent, or whoever else, does with the bytes of a request before it acts on them. Returns whether they are a message.
pub type Read = fn(&[u8]) -> bool;

/// A table of methods with what their requests are read as, and the scenario in them.
macro_rules! methods {
    ($($name:literal $message:ident $scenario:expr;)*) => {
        /// Each method that takes a request, and how that is read.
        pub const METHODS: &[(&str, Read)] =
            &[$(($name, |bytes| read::<v1::$message>(bytes, $scenario))),*];
    };
}

methods! {
    "Describe" DescribeRequest |_| None;
    "Start" StartRequest |request| request.scenario.as_ref();
    "Stop" StopRequest |_| None;
    "Pause" PauseRequest |_| None;
    "Resume" ResumeRequest |_| None;
    "Halt" HaltRequest |_| None;
    "Recover" RecoverRequest |_| None;
    "RenewLease" RenewLeaseRequest |_| None;
    "ListRuns" ListRunsRequest |_| None;
    "GetRun" GetRunRequest |_| None;
    "Watch" WatchRequest |_| None;
    "ReadRecord" ReadRecordRequest |_| None;
    "FreezeRecord" FreezeRecordRequest |_| None;
    "NoteDrill" NoteDrillRequest |_| None;
    "Plan" PlanRequest |request| request.scenario.as_ref();
    "Clock" ClockRequest |_| None;
    "Prepare" PrepareRequest |request| request.scenario.as_ref();
    "Begin" BeginRequest |_| None;
    "Release" ReleaseRequest |_| None;
}

/// Decodes, writes the message anew and decodes that, and validates the scenario in it.
fn read<M: Message + Default>(bytes: &[u8], scenario: for<'a> fn(&'a M) -> Option<&'a Scenario>) -> bool {
    let Ok(message) = M::decode(bytes) else { return false };
    let written = message.encode_to_vec();
    let again = M::decode(&written[..]).expect("what was decoded can be written and decoded");
    // Maps have no order, and NaN is not itself: lengths are compared.
    assert_eq!(again.encoded_len(), written.len(), "it is another message when it is read again");
    if let Some(scenario) = scenario(&message) {
        let mut found = Violations::default();
        validate::scenario(scenario, &mut found);
    }
    true
}

/// The contract, by its descriptors.
#[derive(Debug)]
pub struct Contract {
    messages: HashMap<String, DescriptorProto>,
    enums: HashMap<String, EnumDescriptorProto>,
    /// Names of methods and of their requests.
    methods: Vec<(String, String)>,
}

impl Default for Contract {
    fn default() -> Self {
        Self::new()
    }
}

impl Contract {
    /// As it is compiled in.
    pub fn new() -> Self {
        let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("it was encoded when it was built");
        let mut contract = Self { messages: HashMap::new(), enums: HashMap::new(), methods: Vec::new() };
        for file in set.file {
            let package = format!(".{}", file.package());
            for message in file.message_type {
                contract.add(&package, message);
            }
            contract
                .enums
                .extend(file.enum_type.into_iter().map(|it| (format!("{package}.{}", it.name()), it)));
            let methods = file.service.into_iter().flat_map(|service| service.method);
            contract
                .methods
                .extend(methods.map(|method| (method.name().to_owned(), method.input_type().to_owned())));
        }
        contract
    }

    fn add(&mut self, parent: &str, message: DescriptorProto) {
        let name = format!("{parent}.{}", message.name());
        for nested in message.nested_type.clone() {
            self.add(&name, nested);
        }
        for nested in message.enum_type.clone() {
            self.enums.insert(format!("{name}.{}", nested.name()), nested);
        }
        self.messages.insert(name, message);
    }

    /// The methods that it has.
    pub fn methods(&self) -> impl Iterator<Item = &str> {
        self.methods.iter().map(|(name, _)| name.as_str())
    }

    /// A request of that method.
    pub fn request(&self, method: &str, rng: &mut Rng) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some((_, input)) = self.methods.iter().find(|(name, _)| name == method) {
            // Some are nearly full, others nearly empty.
            let presence = rng.f64();
            let mut left = MAX_FIELDS;
            self.message(input, (presence, MAX_DEPTH), &mut left, rng, &mut bytes);
        }
        bytes
    }

    fn message(
        &self,
        name: &str,
        (presence, depth): (f64, u32),
        left: &mut u32,
        rng: &mut Rng,
        bytes: &mut Vec<u8>,
    ) {
        let Some(message) = self.messages.get(name) else { return };
        for field in &message.field {
            if rng.f64() > presence {
                continue;
            }
            let repeated = field.label() == Label::Repeated;
            let count = match rng.u8(..) {
                _ if !repeated => 1,
                0 => 300,
                byte => u32::from(byte % 4),
            };
            for _ in 0..count {
                if *left == 0 {
                    return;
                }
                *left -= 1;
                self.field(field, (presence, depth), left, rng, bytes);
            }
        }
    }

    fn field(
        &self,
        field: &FieldDescriptorProto,
        (presence, depth): (f64, u32),
        left: &mut u32,
        rng: &mut Rng,
        bytes: &mut Vec<u8>,
    ) {
        let tag = field.number().cast_unsigned();
        let delimited = |content: Vec<u8>, bytes: &mut Vec<u8>| {
            encode_key(tag, WireType::LengthDelimited, bytes);
            encode_varint(content.len() as u64, bytes);
            bytes.extend(content);
        };
        match field.r#type() {
            Type::Message | Type::Group => {
                let mut content = Vec::new();
                if depth > 0 {
                    self.message(field.type_name(), (presence, depth - 1), left, rng, &mut content);
                }
                delimited(content, bytes);
            }
            Type::String => delimited(word(rng).into_bytes(), bytes),
            Type::Bytes => delimited((0..rng.usize(0..64)).map(|_| rng.u8(..)).collect(), bytes),
            Type::Double => {
                encode_key(tag, WireType::SixtyFourBit, bytes);
                bytes.extend(fraction(rng).to_le_bytes());
            }
            Type::Float | Type::Fixed32 | Type::Sfixed32 => {
                encode_key(tag, WireType::ThirtyTwoBit, bytes);
                bytes.extend(rng.u32(..).to_le_bytes());
            }
            Type::Fixed64 | Type::Sfixed64 => {
                encode_key(tag, WireType::SixtyFourBit, bytes);
                bytes.extend(number(rng).to_le_bytes());
            }
            Type::Enum => {
                let known = self.enums.get(field.type_name());
                let values = known.map_or(&[][..], |known| &known.value[..]);
                let value = rng.choice(values).map_or(0, |value| i64::from(value.number()).cast_unsigned());
                encode_key(tag, WireType::Varint, bytes);
                encode_varint(if rng.u8(0..10) == 0 { number(rng) } else { value }, bytes);
            }
            Type::Bool => {
                encode_key(tag, WireType::Varint, bytes);
                encode_varint(u64::from(rng.bool()), bytes);
            }
            _ => {
                encode_key(tag, WireType::Varint, bytes);
                encode_varint(number(rng), bytes);
            }
        }
    }
}

/// What people write, and what nobody does.
fn word(rng: &mut Rng) -> String {
    const WORDS: [&str; 22] = [
        "",
        "x",
        "one",
        "two",
        "latest",
        "burner.latency",
        "host.cpu.time",
        "agent.resident",
        "host.memory.available",
        "/",
        "/tmp",
        "../../etc/passwd",
        "/dev/null",
        "10.0.0.2:7471",
        "[::1]:1",
        "http://127.0.0.1:1/",
        "https://h/%00",
        "p99 < 5ms",
        "sensor",
        "hwmon0/*",
        "!*",
        "Bearer \u{0}\u{1b}[2J\u{202e}",
    ];
    match rng.u8(0..12) {
        0 => rng.alphanumeric().to_string().repeat(rng.usize(1..5_000)),
        1 => (0..rng.usize(0..40)).map(|_| rng.char(..)).collect(),
        _ => WORDS[rng.usize(0..WORDS.len())].to_owned(),
    }
}

fn number(rng: &mut Rng) -> u64 {
    const EXTREMES: [u64; 8] =
        [0, 1, i32::MAX as u64, u32::MAX as u64, i64::MAX as u64, 1 << 63, u64::MAX - 1, u64::MAX];
    match rng.u8(0..4) {
        0 => EXTREMES[rng.usize(0..EXTREMES.len())],
        1 => rng.u64(..),
        2 => rng.u64(0..=100),
        _ => rng.u64(0..=100_000),
    }
}

fn fraction(rng: &mut Rng) -> f64 {
    const EXTREMES: [f64; 10] = [
        0.0,
        -0.0,
        -1.0,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MAX,
        f64::MIN_POSITIVE,
        1e-300,
        1e18,
    ];
    match rng.u8(0..3) {
        0 => EXTREMES[rng.usize(0..EXTREMES.len())],
        1 => f64::from_bits(rng.u64(..)),
        _ => rng.f64() * 100.0,
    }
}

/// Changes some bytes, or where they are.
pub fn mutate(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..rng.usize(1..6) {
        if bytes.is_empty() {
            bytes.push(rng.u8(..));
        }
        let at = rng.usize(0..bytes.len());
        match rng.u8(0..7) {
            0 => bytes[at] ^= 1 << rng.u8(0..8),
            1 => bytes[at] = rng.u8(..),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, rng.u8(..)),
            4 => {
                bytes.remove(at);
            }
            // A length, or a number, beyond all.
            5 => {
                bytes.splice(at..at, [0xff; 9].into_iter().chain([1]));
            }
            _ => {
                let piece: Vec<u8> = bytes[at..].iter().copied().take(64).collect();
                let to = rng.usize(0..=bytes.len());
                bytes.splice(to..to, piece);
            }
        }
    }
}
