//! The disk burner as users write it.

use std::path;

use ssts_proto::v1::{BlockShare, DiskAccess, DiskBurner, DiskEngine, burner};
use toml::de::DeValue;

use super::{
    Plan,
    flags::single,
    keys::{Findings, Keys, boolean, string, whole},
    load::{of_shape, shape_of},
    values::{cores, duration, one_of, percent, size, whole_percent},
};
use crate::{
    cli::BurnDisk,
    error::{Failure, Problem},
    quantity,
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
    let (block_bytes, blocks) =
        sizes(flags.block.as_ref().map(|blocks| blocks.0.clone()).unwrap_or_default());
    let disk = DiskBurner {
        path: folder.to_string_lossy().into_owned(),
        size_bytes: flags.size.unwrap_or_default(),
        access: DiskAccess::from(flags.rw).into(),
        block_bytes,
        blocks,
        depth: flags.depth,
        rate_per_s: flags.rate,
        rate_bytes_per_s: flags.bandwidth,
        read_percent: flags.reads,
        jobs: flags.jobs,
        cores: flags.cores.as_ref().map(|cores| cores.0.clone()).unwrap_or_default(),
        fsync_every: flags.fsync,
        verify: flags.verify,
        inject_error: flags.inject_error,
        engine: DiskEngine::from(flags.engine).into(),
        fill_percent: flags.fill,
        remount_every_ms: flags.remount,
        load: flags.load.clone().map(of_shape),
        rate_tolerance_percent: flags.tolerance,
    };
    let places = [
        ("path", "--path"),
        ("size_bytes", "--size"),
        ("access", "--rw"),
        ("block_bytes", "--block"),
        ("blocks", "--block"),
        ("depth", "--depth"),
        ("rate_per_s", "--rate"),
        ("rate_bytes_per_s", "--bandwidth"),
        ("read_percent", "--reads"),
        ("jobs", "--jobs"),
        ("cores", "--cores"),
        ("fsync_every", "--fsync"),
        ("verify", "--verify"),
        ("inject_error", "--inject-error"),
        ("engine", "--engine"),
        ("fill_percent", "--fill"),
        ("remount_every_ms", "--remount"),
        ("load", "--load"),
        ("rate_tolerance_percent", "--tolerance"),
    ];
    Ok(single("burn-disk", flags.duration, burner::Kind::Disk(disk), &places))
}

/// One size stands alone, several stand with their shares.
fn sizes(blocks: Vec<BlockShare>) -> (Option<u32>, Vec<BlockShare>) {
    match blocks[..] {
        [BlockShare { block_bytes, percent: 100 }] => (Some(block_bytes), Vec::new()),
        _ => (None, blocks),
    }
}

/// Its keys in a scenario file.
pub(super) fn from_keys(keys: &mut Keys<'_, '_>, found: &mut Findings) -> DiskBurner {
    let path = keys.need("path", "path", found, string, "\"/var/tmp\"").unwrap_or_default();
    let access = keys.read("rw", "access", found, access).unwrap_or(DiskAccess::Randread);
    let size_bytes = if access == DiskAccess::Fill {
        keys.read("size", "size_bytes", found, size)
    } else {
        keys.need("size", "size_bytes", found, size, "\"1GiB\"")
    };
    // One key, which is one of two fields of the contract.
    let blocks = keys.read("block", "block_bytes", found, block_sizes);
    found.origin.copy_place(&keys.part("block_bytes"), keys.part("blocks"));
    let (block_bytes, blocks) = sizes(blocks.unwrap_or_default());
    DiskBurner {
        path,
        size_bytes: size_bytes.unwrap_or_default(),
        access: access.into(),
        block_bytes,
        blocks,
        depth: keys.read("depth", "depth", found, small),
        rate_per_s: keys.read("rate", "rate_per_s", found, whole),
        rate_bytes_per_s: keys.read("bandwidth", "rate_bytes_per_s", found, size),
        read_percent: keys.read("reads", "read_percent", found, whole_percent),
        jobs: keys.read("jobs", "jobs", found, small),
        cores: keys.read("cores", "cores", found, cores).unwrap_or_default(),
        fsync_every: keys.read("fsync", "fsync_every", found, small),
        verify: keys.read("verify", "verify", found, boolean).unwrap_or_default(),
        inject_error: keys.read("inject_error", "inject_error", found, boolean).unwrap_or_default(),
        engine: keys.read("engine", "engine", found, engine).map_or(0, i32::from),
        fill_percent: keys.read("fill", "fill_percent", found, percent),
        remount_every_ms: keys.read("remount", "remount_every_ms", found, duration),
        load: shape_of("load", keys, found),
        rate_tolerance_percent: keys.read("tolerance", "rate_tolerance_percent", found, percent),
    }
}

/// A size, or several with their shares, as the command line has them; or bytes.
fn block_sizes(value: &DeValue<'_>) -> Result<Vec<BlockShare>, Problem> {
    match value {
        DeValue::String(text) => quantity::block_sizes(text),
        _ => {
            let block_bytes = u32::try_from(size(value)?).unwrap_or(u32::MAX);
            Ok(vec![BlockShare { block_bytes, percent: 100 }])
        }
    }
}

/// A number whose bounds the contract checks.
fn small(value: &DeValue<'_>) -> Result<u32, Problem> {
    Ok(u32::try_from(whole(value)?).unwrap_or(u32::MAX))
}

fn access(value: &DeValue<'_>) -> Result<DiskAccess, Problem> {
    let known = [
        ("read", DiskAccess::Read),
        ("write", DiskAccess::Write),
        ("readwrite", DiskAccess::Readwrite),
        ("randread", DiskAccess::Randread),
        ("randwrite", DiskAccess::Randwrite),
        ("randrw", DiskAccess::Randrw),
        ("fill", DiskAccess::Fill),
    ];
    one_of(value, "access", &known)
}

fn engine(value: &DeValue<'_>) -> Result<DiskEngine, Problem> {
    let known = [
        ("auto", DiskEngine::Unspecified),
        ("io-uring", DiskEngine::IoUring),
        ("threads", DiskEngine::Threads),
    ];
    one_of(value, "engine", &known)
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
