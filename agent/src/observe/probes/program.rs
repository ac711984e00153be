//! Loads the programs of one probe into the kernel and attaches them: one program a kernel event, by the cheaper kind of
//! hook where this kernel allows it.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Map, MapData, RingBuf},
    programs::{Program, RawTracePoint, TracePoint},
};

use super::{
    HookChoice,
    error::ProbeError,
    perf_event,
    tracefs::Tracefs,
    types::KernelTypes,
    window::{Element, Window},
};
use crate::host::HostRoots;

/// What a probe's object needs to be told: constants by name.
pub(super) type Constants = Vec<(&'static str, u32)>;

/// One probe, as its reader describes it.
pub(super) struct Definition {
    /// As [`ProbeStatus`](ssts_proto::v1::ProbeStatus) names it.
    pub(super) name: &'static str,
    pub(super) object: &'static [u8],
    pub(super) hooks: &'static [Hook],
    /// How many elements some maps have, as it depends on the host.
    pub(super) maps: Vec<(&'static str, u32)>,
    /// What both kinds of programs are told.
    pub(super) constants: Constants,
    /// What raw tracepoint programs are told, from the kernel's types.
    pub(super) raw: fn(&KernelTypes) -> Result<Constants, ProbeError>,
    /// What tracepoint programs are told, from the records' formats.
    pub(super) recorded: fn(&Tracefs) -> Result<Constants, ProbeError>,
}

/// A kernel event with the two programs that can handle it.
pub(super) struct Hook {
    pub(super) category: &'static str,
    pub(super) event: &'static str,
    pub(super) raw: &'static str,
    pub(super) recorded: &'static str,
    /// Not every kernel has the event; the probe does without.
    pub(super) optional: bool,
}

/// A probe's programs, attached until this is dropped or they are taken out.
#[derive(Debug)]
pub(super) struct Programs {
    names: Vec<&'static str>,
    /// How each is attached.
    pub(super) hooks: Vec<String>,
    attachment: Mutex<Option<Attachment>>,
}

#[derive(Debug)]
struct Attachment {
    ebpf: Ebpf,
    /// Attachments that aya doesn't hold.
    events: Vec<OwnedFd>,
}

impl Programs {
    pub(super) fn attach(
        definition: &Definition,
        roots: &HostRoots,
        choice: HookChoice,
    ) -> Result<Self, ProbeError> {
        let raw = || {
            let constants = (definition.raw)(&KernelTypes::open(roots)?)?;
            Self::load(definition, &constants)?.attach_raw(definition.hooks)
        };
        let recorded = || {
            let tracefs = Tracefs::open(roots)?;
            let constants = (definition.recorded)(&tracefs)?;
            Self::load(definition, &constants)?.attach_recorded(definition.hooks, &tracefs)
        };
        match choice {
            HookChoice::Raw => raw(),
            HookChoice::Tracepoint => recorded(),
            HookChoice::Auto => raw().or_else(|first| match (first, recorded()) {
                (_, Ok(programs)) => Ok(programs),
                // It is the same privilege that both lack.
                (denied @ ProbeError::Denied { .. }, Err(_)) => Err(denied),
                (first, Err(second)) => {
                    Err(ProbeError::Neither { raw: first.into(), recorded: second.into() })
                }
            }),
        }
    }

    fn load(definition: &Definition, constants: &Constants) -> Result<Self, ProbeError> {
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
        Ok(Self { names: Vec::new(), hooks: Vec::new(), attachment })
    }

    fn attach_raw(mut self, hooks: &[Hook]) -> Result<Self, ProbeError> {
        for hook in hooks {
            let name = format!("raw_tracepoint {}", hook.event);
            let wrong = |e| ProbeError::program(&name, &e);
            let program: &mut RawTracePoint = self.program(hook.raw)?.try_into().map_err(wrong)?;
            program.load().map_err(wrong)?;
            match program.attach(hook.event) {
                Ok(_) => self.note(hook.raw, name),
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
            let program: &mut TracePoint = self.program(hook.recorded)?.try_into().map_err(wrong)?;
            program.load().map_err(wrong)?;
            let fd = program.fd().map_err(wrong)?.as_fd();
            let event = perf_event::attach(fd, id).map_err(|e| ProbeError::call(&name, &e))?;
            if let Some(attachment) = self.attachment() {
                attachment.events.push(event);
            }
            self.note(hook.recorded, name);
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

    fn note(&mut self, program: &'static str, hook: String) {
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

    /// How often the programs ran and how long that took, while the kernel kept count of it.
    pub(super) fn usage(&self) -> Result<(u64, Duration), ProbeError> {
        let mut usage = (0, Duration::ZERO);
        let attachment = self.lock();
        for name in &self.names {
            let program = attachment.as_ref().and_then(|attachment| attachment.ebpf.program(name));
            let program = program.ok_or_else(|| ProbeError::lacks(name))?;
            let info = program.info().map_err(|e| ProbeError::program(*name, &e))?;
            usage.0 += info.run_count();
            usage.1 += info.run_time();
        }
        Ok(usage)
    }
}

impl Hook {
    pub(super) const fn optional(self) -> Self {
        Self { optional: true, ..self }
    }

    /// Below `events` of tracefs.
    fn path(&self) -> String {
        format!("{}/{}", self.category, self.event)
    }
}
