//! Loads the programs of one probe into the kernel and attaches them: one program a kernel event, by the cheaper kind of
//! hook where this kernel allows it.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use aya::{
    Ebpf, EbpfLoader,
    maps::Map,
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
}

/// A probe's programs, attached until this is dropped.
#[derive(Debug)]
pub(super) struct Programs {
    ebpf: Ebpf,
    names: Vec<&'static str>,
    /// How each is attached.
    pub(super) hooks: Vec<String>,
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
        Ok(Self { ebpf, names: Vec::new(), hooks: Vec::new(), events: Vec::new() })
    }

    fn attach_raw(mut self, hooks: &[Hook]) -> Result<Self, ProbeError> {
        for hook in hooks {
            let name = format!("raw_tracepoint {}", hook.event);
            let wrong = |e| ProbeError::program(&name, &e);
            let program: &mut RawTracePoint = self.program(hook.raw)?.try_into().map_err(wrong)?;
            program.load().map_err(wrong)?;
            program.attach(hook.event).map_err(wrong)?;
            self.note(hook.raw, name);
        }
        Ok(self)
    }

    fn attach_recorded(mut self, hooks: &[Hook], tracefs: &Tracefs) -> Result<Self, ProbeError> {
        for hook in hooks {
            let id = tracefs.id(&hook.path())?;
            let name = format!("tracepoint {}:{}", hook.category, hook.event);
            let wrong = |e| ProbeError::program(&name, &e);
            let program: &mut TracePoint = self.program(hook.recorded)?.try_into().map_err(wrong)?;
            program.load().map_err(wrong)?;
            let fd = program.fd().map_err(wrong)?.as_fd();
            let event = perf_event::attach(fd, id).map_err(|e| ProbeError::call(&name, &e))?;
            self.events.push(event);
            self.note(hook.recorded, name);
        }
        Ok(self)
    }

    fn program(&mut self, name: &str) -> Result<&mut Program, ProbeError> {
        self.ebpf.program_mut(name).ok_or_else(|| ProbeError::lacks(name))
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
        Window::open(self.map(map)?, first, len).map_err(|e| ProbeError::call(format!("mapping {map}"), &e))
    }

    /// A descriptor of an array map for another process.
    pub(super) fn share(&self, map: &str) -> Result<OwnedFd, ProbeError> {
        let copy = self.map(map)?.try_clone_to_owned();
        copy.map_err(|e| ProbeError::call(format!("sharing {map}"), &e))
    }

    fn map(&self, name: &str) -> Result<BorrowedFd<'_>, ProbeError> {
        match self.ebpf.map(name) {
            Some(Map::Array(map)) => Ok(map.fd().as_fd()),
            _ => Err(ProbeError::lacks(name)),
        }
    }

    /// How often the programs ran and how long that took, while the kernel kept count of it.
    pub(super) fn usage(&self) -> Result<(u64, Duration), ProbeError> {
        let mut usage = (0, Duration::ZERO);
        for name in &self.names {
            let program = self.ebpf.program(name).ok_or_else(|| ProbeError::lacks(name))?;
            let info = program.info().map_err(|e| ProbeError::program(*name, &e))?;
            usage.0 += info.run_count();
            usage.1 += info.run_time();
        }
        Ok(usage)
    }
}

impl Hook {
    /// Below `events` of tracefs.
    fn path(&self) -> String {
        format!("{}/{}", self.category, self.event)
    }
}
