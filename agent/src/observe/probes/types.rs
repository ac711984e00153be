//! The running kernel's own description of its types (BTF): where members of its structs stand, and what its
//! tracepoints pass. Looked up in place; nothing of it stays in memory.

use std::{
    cell::RefCell,
    collections::HashMap,
    fs::File,
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use btf_rs::{Backend, Btf, BtfType, Struct, Type};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::error::ProbeError;
use crate::host::HostRoots;

pub(super) struct KernelTypes {
    btf: Btf,
    /// What was looked up: each time all types are gone through.
    known: RefCell<HashMap<String, Vec<Type>>>,
}

impl KernelTypes {
    pub(super) fn open(roots: &HostRoots) -> Result<Self, ProbeError> {
        let path = roots.sys("kernel/btf/vmlinux");
        // Kernels before 6.16 can't map that file, but a copy.
        let mapped = |path: &Path| Btf::from_file_with_backend(path, Backend::Mmap);
        let btf = mapped(&path).or_else(|_| {
            let copy = copy(&path)?;
            let name = roots.proc(PathBuf::from(format!("self/fd/{}", copy.as_raw_fd())));
            mapped(&name).map_err(io::Error::other)
        });
        match btf {
            Ok(btf) => Ok(Self { btf, known: RefCell::default() }),
            Err(error) => Err(ProbeError::NoTypes { path, reason: error.to_string() }),
        }
    }

    /// How many bytes into struct `name` the member stands.
    pub(super) fn member(&self, name: &str, member: &str) -> Result<u32, ProbeError> {
        self.find_member(name, member)?.ok_or_else(|| missing(format!("{name}.{member}")))
    }

    /// As [`Self::member`]; nothing where this kernel's struct has no such member.
    pub(super) fn find_member(&self, name: &str, member: &str) -> Result<Option<u32>, ProbeError> {
        let types = self.named(name)?;
        let Some(found) = types.iter().find_map(|ty| match ty {
            Type::Struct(found) if !found.members.is_empty() => Some(found),
            _ => None,
        }) else {
            return Err(missing(format!("struct {name}")));
        };
        Ok(self.bits_to(found, member).map(|bits| bits / 8))
    }

    /// As [`Self::member`], of one that is a number of so many bytes.
    pub(super) fn number(&self, name: &str, member: &str, size: usize) -> Result<u32, ProbeError> {
        let offset = self.member(name, member)?;
        let types = self.named(name)?;
        let found = types.iter().find_map(|ty| match ty {
            Type::Struct(found) => self.number_in(found, member),
            _ => None,
        });
        if found == Some(size) {
            Ok(offset)
        } else {
            Err(missing(format!("{name}.{member} of {size} bytes")))
        }
    }

    /// The size of a member that is a number, by its name; searched for in unnamed structs and unions inside too.
    fn number_in(&self, within: &Struct, name: &str) -> Option<usize> {
        within.members.iter().find_map(|member| match self.btf.resolve_name(member).ok()?.as_str() {
            found if found == name => self.size_of_number(self.target(member)?),
            "" => match self.target(member)? {
                Type::Struct(inner) | Type::Union(inner) => self.number_in(&inner, name),
                _ => None,
            },
            _ => None,
        })
    }

    fn size_of_number(&self, ty: Type) -> Option<usize> {
        match ty {
            Type::Typedef(named) => self.size_of_number(self.target(&named)?),
            Type::Int(number) => Some(number.size()),
            _ => None,
        }
    }

    /// Whether this kernel knows the tracepoint.
    pub(super) fn has_tracepoint(&self, tracepoint: &str) -> bool {
        self.arguments(tracepoint).is_ok()
    }

    /// How many arguments the raw tracepoint passes.
    pub(super) fn argument_count(&self, tracepoint: &str) -> Result<u32, ProbeError> {
        Ok(self.arguments(tracepoint)?.len() as u32)
    }

    /// Which is the first of the arguments that points to a struct `target`.
    pub(super) fn argument(&self, tracepoint: &str, target: &str) -> Result<u32, ProbeError> {
        self.arguments(tracepoint)?
            .iter()
            .position(|argument| self.points_to(argument, target))
            .map(|position| position as u32)
            .ok_or_else(|| missing(format!("{target} among the arguments of {tracepoint}")))
    }

    /// The parameters of `btf_trace_*`, a typedef that the kernel declares for each tracepoint, but for the first: that
    /// is the tracer's own.
    fn arguments(&self, tracepoint: &str) -> Result<Vec<btf_rs::Parameter>, ProbeError> {
        let name = format!("btf_trace_{tracepoint}");
        let types = self.named(&name)?;
        let typedef = types.iter().find(|ty| matches!(ty, Type::Typedef(_)));
        let prototype = typedef.and_then(|ty| {
            let pointer = self.target(ty.as_btf_type()?)?;
            self.target(pointer.as_btf_type()?)
        });
        match prototype {
            Some(Type::FuncProto(prototype)) => Ok(prototype.parameters.into_iter().skip(1).collect()),
            _ => Err(missing(name)),
        }
    }

    fn points_to(&self, argument: &dyn BtfType, name: &str) -> bool {
        let Some(Type::Ptr(pointer)) = self.target(argument) else { return false };
        let Some(Type::Struct(found)) = self.target(&pointer) else { return false };
        self.btf.resolve_name(&found).is_ok_and(|found| found == name)
    }

    /// The values of enum `name` with their names, less `prefix`; those without it are left out.
    pub(super) fn enumerators(&self, name: &str, prefix: &str) -> Result<Vec<(u32, String)>, ProbeError> {
        let types = self.named(name)?;
        let Some(found) = types.iter().find_map(|ty| match ty {
            Type::Enum(found) => Some(found),
            _ => None,
        }) else {
            return Err(missing(format!("enum {name}")));
        };
        let named = |member: &btf_rs::EnumMember| {
            let name = self.btf.resolve_name(member).ok()?;
            Some((member.val(), name.strip_prefix(prefix)?.to_owned()))
        };
        Ok(found.members.iter().filter_map(named).collect())
    }

    /// Searches unnamed structs and unions inside too. A bit field has no address.
    fn bits_to(&self, within: &Struct, name: &str) -> Option<u32> {
        within.members.iter().find_map(|member| match self.btf.resolve_name(member).ok()?.as_str() {
            found if found == name => (member.bitfield_size().unwrap_or(0) == 0).then(|| member.bit_offset()),
            "" => match self.target(member)? {
                Type::Struct(inner) | Type::Union(inner) => {
                    Some(member.bit_offset() + self.bits_to(&inner, name)?)
                }
                _ => None,
            },
            _ => None,
        })
    }

    /// What a type refers to, qualifiers left out.
    fn target(&self, of: &dyn BtfType) -> Option<Type> {
        match self.btf.resolve_chained_type(of).ok()? {
            Type::Const(inner) | Type::Volatile(inner) | Type::Restrict(inner) => self.target(&inner),
            Type::TypeTag(inner) => self.target(&inner),
            found => Some(found),
        }
    }

    fn named(&self, name: &str) -> Result<Vec<Type>, ProbeError> {
        if let Some(types) = self.known.borrow().get(name) {
            return Ok(types.clone());
        }
        let types = self.btf.resolve_types_by_name(name).map_err(|_| missing(name.to_owned()))?;
        self.known.borrow_mut().insert(name.to_owned(), types.clone());
        Ok(types)
    }
}

fn missing(what: String) -> ProbeError {
    ProbeError::NoType { what }
}

/// A copy of a file in memory that is gone when closed.
fn copy(path: &Path) -> io::Result<OwnedFd> {
    let mut source = File::open(path)?;
    let mut copy = File::from(memfd_create(c"kernel types", MFdFlags::MFD_CLOEXEC)?);
    io::copy(&mut source, &mut copy)?;
    Ok(copy.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The C compiler of this test's kernel and the Rust one agree on `struct list_head`; the rest can be bounded.
    #[test]
    fn members_are_found_in_this_kernels_types() {
        let Ok(types) = KernelTypes::open(&HostRoots::default()) else {
            println!("skipped: this kernel shows no types");
            return;
        };
        assert_eq!(types.member("list_head", "prev").unwrap(), 8);
        assert_eq!(types.member("gendisk", "first_minor").unwrap(), 4);
        assert_eq!(types.number("gendisk", "first_minor", 4).unwrap(), 4);
        let error = types.number("gendisk", "first_minor", 8).unwrap_err();
        assert_eq!(error.to_string(), "this kernel's types have no gendisk.first_minor of 8 bytes");
        // Through a typedef; and what is no number.
        types.number("tcp_skb_cb", "tcp_gso_segs", 2).unwrap();
        assert!(types.number("list_head", "prev", 8).is_err());
        // Inside an unnamed union.
        assert!(types.member("request", "queuelist").unwrap() > types.member("request", "q").unwrap());
        assert!(types.find_member("request", "no_such_member").unwrap().is_none());
        let error = types.member("no_such_struct", "member").unwrap_err();
        assert_eq!(error.to_string(), "this kernel's types have no struct no_such_struct");
    }

    #[test]
    fn names_of_values_are_found_in_this_kernels_types() {
        let Ok(types) = KernelTypes::open(&HostRoots::default()) else {
            println!("skipped: this kernel shows no types");
            return;
        };
        let kinds = types.enumerators("pid_type", "PIDTYPE_").unwrap();
        assert_eq!(kinds[..2], [(0, "PID".into()), (1, "TGID".into())]);
        assert!(types.enumerators("no_such_enum", "").is_err());
    }

    #[test]
    fn arguments_of_tracepoints_are_found_in_this_kernels_types() {
        let Ok(types) = KernelTypes::open(&HostRoots::default()) else {
            println!("skipped: this kernel shows no types");
            return;
        };
        assert_eq!(types.argument("block_rq_complete", "request").unwrap(), 0);
        assert_eq!(types.argument("sched_switch", "task_struct").unwrap(), 1);
        assert!(types.argument_count("sched_switch").unwrap() >= 3);
        assert!(types.argument("sched_switch", "request").is_err());
    }
}
