//! Loads the programs of one probe into the kernel and attaches them: one program a kernel event, by the cheapest kind of
//! hook that this kernel allows.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{Map, MapData, RingBuf},
    programs::{BtfTracePoint, Program, RawTracePoint, RawTracePointRunOptions, TestRun as _, TracePoint},
};

use super::{
    Target,
    error::ProbeError,
    perf_event,
    tracefs::Tracefs,
    types::KernelTypes,
    window::{Element, Window},
};

/// What a probe's object needs to be told: constants by name.
pub(super) type Constants = Vec<(&'static str, u32)>;

/// One probe, as its reader describes it.
pub(super) struct Definition {
    /// As [`ProbeStatus`](ssts_proto::v1::ProbeStatus) names it.
    pub(super) name: &'static str,
    pub(super) object: &'static [u8],
    pub(super) hooks: &'static [Hook],
    /// Whether there are programs of BTF tracepoints. Where not, for events that are rare, those of raw ones stand in.
    pub(super) has_btf: bool,
    /// How many elements some maps have, as it depends on the host.
    pub(super) maps: Vec<(&'static str, u32)>,
    /// What programs of all kinds are told.
    pub(super) constants: Constants,
    /// What programs of raw and BTF tracepoints are told, from the kernel's types.
    pub(super) typed: fn(&KernelTypes) -> Result<Constants, ProbeError>,
    /// What tracepoint programs are told, from the records' formats.
    pub(super) recorded: fn(&Tracefs) -> Result<Constants, ProbeError>,
}

/// A kernel event with the programs that can handle it: one for each [`Kind`], called by the kind's prefix and `program`.
pub(super) struct Hook {
    category: &'static str,
    pub(super) event: &'static str,
    program: &'static str,
    /// Not every kernel has the event; the probe does without.
    optional: bool,
}

/// How a program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// BTF tracepoint: typed pointers, members are loads. Linux 5.5.
    Btf,
    /// Raw tracepoint: pointers, members are read by calls. Linux 4.17.
    Raw,
    /// Tracepoint: a record that the kernel fills in.
    Recorded,
}

/// A probe's programs, attached until this is dropped or they are taken out.
#[derive(Debug)]
pub(super) struct Programs {
    names: Vec<String>,
    /// How each is attached.
    pub(super) hooks: Vec<String>,
    kind: Kind,
    /// What they had no room to note.
    lost: AtomicU64,
    attachment: Mutex<Option<Attachment>>,
}

#[derive(Debug)]
struct Attachment {
    ebpf: Ebpf,
    /// Attachments that aya doesn't hold.
    events: Vec<OwnedFd>,
}

impl Programs {
    pub(super) fn attach(definition: &Definition, target: &Target) -> Result<Self, ProbeError> {
        let mut refusals = Vec::new();
        for kind in target.hooks.kinds() {
            let kind = match kind {
                Kind::Btf if !definition.has_btf => Kind::Raw,
                kind => *kind,
            };
            if refusals.iter().any(|(tried, _)| *tried == kind) {
                continue;
            }
            match Self::attach_by(kind, definition, target) {
                Ok(programs) => return Ok(programs),
                Err(error) => refusals.push((kind, error)),
            }
        }
        Err(ProbeError::of_all_kinds(refusals))
    }

    fn attach_by(kind: Kind, definition: &Definition, target: &Target) -> Result<Self, ProbeError> {
        let hooks = definition.hooks;
        match kind {
            Kind::Btf | Kind::Raw => {
                let types = KernelTypes::open(&target.roots)?;
                let constants = (definition.typed)(&types)?;
                let programs = Self::load(kind, definition, &constants)?;
                match kind {
                    Kind::Btf => programs.attach_typed(hooks, target.btf()?, &types),
                    _ => programs.attach_raw(hooks),
                }
            }
            Kind::Recorded => {
                let tracefs = Tracefs::open(&target.roots)?;
                let constants = (definition.recorded)(&tracefs)?;
                Self::load(kind, definition, &constants)?.attach_recorded(hooks, &tracefs)
            }
        }
    }

    fn load(kind: Kind, definition: &Definition, constants: &Constants) -> Result<Self, ProbeError> {
        let mut loader = EbpfLoader::new();
        loader.btf(None);
        for (name, max_entries) in &definition.maps {
            loader.map_max_entries(name, *max_entries);
        }
        for (name, value) in definition.constants.iter().chain(constants) {
            loader.override_global(name, value, true);
        }
        let ebpf = loader.load(definition.object).map_err(|e| {
            ProbeError::object(format!("loading the object of probe {}", definition.name), &e)
        })?;
        let attachment = Mutex::new(Some(Attachment { ebpf, events: Vec::new() }));
        Ok(Self { names: Vec::new(), hooks: Vec::new(), kind, lost: AtomicU64::new(0), attachment })
    }

    fn attach_typed(mut self, hooks: &[Hook], btf: &Btf, types: &KernelTypes) -> Result<Self, ProbeError> {
        for hook in hooks {
            if hook.optional && !types.has_tracepoint(hook.event) {
                continue;
            }
            let name = format!("btf_tracepoint {}", hook.event);
            let wrong = |e| ProbeError::program(&name, &e);
            let own = hook.program(Kind::Btf);
            let program: &mut BtfTracePoint = self.program(&own)?.try_into().map_err(wrong)?;
            program.load(hook.event, btf).map_err(wrong)?;
            match program.attach() {
                Ok(_) => self.note(own, name),
                Err(_) if hook.optional => {}
                Err(error) => return Err(wrong(error)),
            }
        }
        Ok(self)
    }

    fn attach_raw(mut self, hooks: &[Hook]) -> Result<Self, ProbeError> {
        for hook in hooks {
            let name = format!("raw_tracepoint {}", hook.event);
            let wrong = |e| ProbeError::program(&name, &e);
            let own = hook.program(Kind::Raw);
            let program: &mut RawTracePoint = self.program(&own)?.try_into().map_err(wrong)?;
            program.load().map_err(wrong)?;
            match program.attach(hook.event) {
                Ok(_) => self.note(own, name),
                Err(_) if hook.optional => {}
                Err(error) => return Err(wrong(error)),
            }
        }
        Ok(self)
    }

    fn attach_recorded(mut self, hooks: &[Hook], tracefs: &Tracefs) -> Result<Self, ProbeError> {
        for hook in hooks {
            let id = match tracefs.id(&hook.path()) {
                Err(_) if hook.optional => continue,
                id => id?,
            };
            let name = format!("tracepoint {}:{}", hook.category, hook.event);
            let wrong = |e| ProbeError::program(&name, &e);
            let own = hook.program(Kind::Recorded);
            let program: &mut TracePoint = self.program(&own)?.try_into().map_err(wrong)?;
            program.load().map_err(wrong)?;
            let fd = program.fd().map_err(wrong)?.as_fd();
            let event = perf_event::attach(fd, id).map_err(|e| ProbeError::call(&name, &e))?;
            if let Some(attachment) = self.attachment() {
                attachment.events.push(event);
            }
            self.note(own, name);
        }
        Ok(self)
    }

    fn program(&mut self, name: &str) -> Result<&mut Program, ProbeError> {
        let program = self.attachment().and_then(|attachment| attachment.ebpf.program_mut(name));
        program.ok_or_else(|| ProbeError::lacks(name))
    }

    fn attachment(&mut self) -> Option<&mut Attachment> {
        self.attachment.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Attachment>> {
        // Whoever panicked: it is there or not.
        self.attachment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loads a program of raw tracepoints that is attached nowhere, has the kernel run it on this thread, once, with these
    /// arguments, and unloads it. Whether the kernel can: Linux 5.10 can.
    pub(super) fn run_apart(&self, name: &str, args: [u64; 12]) -> Result<bool, ProbeError> {
        let mut attachment = self.lock();
        let program = attachment.as_mut().and_then(|attachment| attachment.ebpf.program_mut(name));
        let wrong = |e| ProbeError::program(name, &e);
        let program: &mut RawTracePoint =
            program.ok_or_else(|| ProbeError::lacks(name))?.try_into().map_err(wrong)?;
        program.load().map_err(wrong)?;
        let ran = program.test_run(RawTracePointRunOptions { args, cpu: None });
        program.unload().map_err(wrong)?;
        Ok(ran.is_ok())
    }

    /// Whether they are given typed pointers.
    pub(super) fn are_typed(&self) -> bool {
        self.kind == Kind::Btf
    }

    /// Whether they are given records, which tell the number of the task that runs next, and not its process.
    pub(super) fn are_recorded(&self) -> bool {
        self.kind == Kind::Recorded
    }

    /// Whether they run at their events.
    pub(super) fn are_attached(&self) -> bool {
        self.lock().is_some()
    }

    /// Takes them out of the kernel, for good. What they counted stays to be read.
    pub(super) fn detach(&self) {
        let attachment = self.lock().take();
        // The kernel waits until none of them runs: on a thread of its own, for the tick must not. Where there is no thread to
        // be had, the closure is dropped here, and with it the attachment.
        let _waiting = thread::Builder::new().name("detach".into()).spawn(move || drop(attachment));
    }

    fn note(&mut self, program: String, hook: String) {
        self.names.push(program);
        self.hooks.push(hook);
    }

    /// The first `len` elements of an array map.
    pub(super) fn window<T: Element>(&self, map: &str, len: usize) -> Result<Window<T>, ProbeError> {
        self.window_at(map, 0, len)
    }

    /// `len` elements of an array map, from element `first` on.
    pub(super) fn window_at<T: Element>(
        &self,
        map: &str,
        first: usize,
        len: usize,
    ) -> Result<Window<T>, ProbeError> {
        Window::open(self.share(map)?.as_fd(), first, len)
            .map_err(|e| ProbeError::call(format!("mapping {map}"), &e))
    }

    /// A descriptor of an array map for another process.
    pub(super) fn share(&self, map: &str) -> Result<OwnedFd, ProbeError> {
        let attachment = self.lock();
        let Some(Map::Array(array)) = attachment.as_ref().and_then(|attachment| attachment.ebpf.map(map))
        else {
            return Err(ProbeError::lacks(map));
        };
        array.fd().as_fd().try_clone_to_owned().map_err(|e| ProbeError::call(format!("sharing {map}"), &e))
    }

    /// A ring of records, taken over.
    pub(super) fn ring(&mut self, name: &str) -> Result<RingBuf<MapData>, ProbeError> {
        let map = self.attachment().and_then(|attachment| attachment.ebpf.take_map(name));
        map.ok_or_else(|| ProbeError::lacks(name))?.try_into().map_err(|_| ProbeError::lacks(name))
    }

    /// Runs an attached program of a raw tracepoint once, at no event, with arguments that nobody passed. Linux 5.10.
    pub(super) fn run_once(&self, program: &str, arguments: &[u64]) -> Result<(), ProbeError> {
        let wrong = |e| ProbeError::program(program, &e);
        let attachment = self.lock();
        let found = attachment.as_ref().and_then(|attachment| attachment.ebpf.program(program));
        let found: &RawTracePoint =
            found.ok_or_else(|| ProbeError::lacks(program))?.try_into().map_err(wrong)?;
        let mut options = RawTracePointRunOptions::new();
        options.args.iter_mut().zip(arguments).for_each(|(place, argument)| *place = *argument);
        found.test_run(options).map(drop).map_err(wrong)
    }

    /// Takes note of all that the programs had no room for so far.
    pub(super) fn note_lost(&self, lost: u64) {
        self.lost.store(lost, Relaxed);
    }

    /// Events that the programs saw and had no room to note.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// How often the programs ran and how long that took, while the kernel kept count of it.
    pub(super) fn usage(&self) -> Result<(u64, Duration), ProbeError> {
        let mut usage = (0, Duration::ZERO);
        let attachment = self.lock();
        for name in &self.names {
            let program = attachment.as_ref().and_then(|attachment| attachment.ebpf.program(name));
            let program = program.ok_or_else(|| ProbeError::lacks(name))?;
            let info = program.info().map_err(|e| ProbeError::program(name, &e))?;
            usage.0 += info.run_count();
            usage.1 += info.run_time();
        }
        Ok(usage)
    }
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Btf => "BTF tracepoints",
            Self::Raw => "raw tracepoints",
            Self::Recorded => "tracepoints",
        }
    }
}

impl Hook {
    pub(super) const fn new(category: &'static str, event: &'static str, program: &'static str) -> Self {
        Self { category, event, program, optional: false }
    }

    pub(super) const fn optional(self) -> Self {
        Self { optional: true, ..self }
    }

    /// The name of the program for a kind.
    fn program(&self, kind: Kind) -> String {
        let prefix = match kind {
            Kind::Btf => "btf",
            Kind::Raw => "raw",
            Kind::Recorded => "tp",
        };
        format!("{prefix}_{}", self.program)
    }

    /// Below `events` of tracefs.
    fn path(&self) -> String {
        format!("{}/{}", self.category, self.event)
    }
}
