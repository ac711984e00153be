//! The disk burner as users write it.

use std::path;

use ssts_proto::v1::{DiskAccess, DiskBurner, burner};
use toml::de::DeValue;

use super::{
    Plan,
    flags::single,
    keys::{Findings, Keys, string, whole},
    values::{one_of, size},
};
use crate::{
    cli::BurnDisk,
    error::{Failure, Problem},
};

/// `burn disk`.
pub(crate) fn burn_disk(flags: &BurnDisk) -> Result<Plan, Failure> {
    // Agent and user stand on the same host, so that a relative path means the same to both once it is completed.
    let folder = path::absolute(&flags.path).map_err(|error| {
        Failure::usage(
            format!("--path: '{}' is not a path: {error}", flags.path),
            "give the path of a folder",
        )
    })?;
    let block_bytes = flags.block.map(|block| u32::try_from(block).unwrap_or(u32::MAX));
    let disk = DiskBurner {
        path: folder.to_string_lossy().into_owned(),
        size_bytes: flags.size,
        access: DiskAccess::from(flags.rw).into(),
        block_bytes,
        depth: flags.depth,
        rate_per_s: flags.rate,
    };
    let places = [
        ("path", "--path"),
        ("size_bytes", "--size"),
        ("access", "--rw"),
        ("block_bytes", "--block"),
        ("depth", "--depth"),
        ("rate_per_s", "--rate"),
    ];
    Ok(single("burn-disk", flags.duration, burner::Kind::Disk(disk), &places))
}

/// Its keys in a scenario file.
pub(super) fn from_keys(keys: &mut Keys<'_, '_>, found: &mut Findings) -> DiskBurner {
    DiskBurner {
        path: keys.need("path", "path", found, string, "\"/var/tmp\"").unwrap_or_default(),
        size_bytes: keys.need("size", "size_bytes", found, size, "\"1GiB\"").unwrap_or_default(),
        access: keys.read("rw", "access", found, access).unwrap_or(DiskAccess::Randread).into(),
        block_bytes: keys.read("block", "block_bytes", found, |value| {
            u32::try_from(size(value)?).map_err(|_| Problem::new("a block this large", "use at most 16MiB"))
        }),
        depth: keys.read("depth", "depth", found, |value| {
            u32::try_from(whole(value)?).map_err(|_| Problem::new("a depth this large", "use 1 to 1024"))
        }),
        rate_per_s: keys.read("rate", "rate_per_s", found, whole),
    }
}

fn access(value: &DeValue<'_>) -> Result<DiskAccess, Problem> {
    let known = [
        ("read", DiskAccess::Read),
        ("write", DiskAccess::Write),
        ("randread", DiskAccess::Randread),
        ("randwrite", DiskAccess::Randwrite),
    ];
    one_of(value, "access", &known)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{
        cli::{Burn, Cli, Command},
        error::Exit,
    };

    fn disk(arguments: &str) -> Plan {
        let line = format!("sstsctl burn disk {arguments}");
        match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
            Command::Burn(Burn::Disk(flags)) => burn_disk(&flags).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_relative_path_is_completed() {
        let plan = disk("--path some/where --size 1MiB --duration 1s");
        plan.validate().unwrap();
        let Some(burner::Kind::Disk(burner)) = &plan.scenario.phases[0].burners[0].kind else { panic!() };
        assert!(burner.path.starts_with('/') && burner.path.ends_with("some/where"), "{}", burner.path);
    }

    #[test]
    fn violations_name_the_flag() {
        let plan = disk("--path /tmp --size 5000 --duration 1s");
        let failure = plan.validate().unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.problems[0].message.starts_with("--size: "), "{failure}");
        let plan = disk("--path /tmp --size 1TiB --block 1TiB --duration 1s");
        assert!(plan.validate().unwrap_err().problems[0].message.starts_with("--block: "));
    }
}
