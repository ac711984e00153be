//! The flags of `burn`, as a scenario of one phase with one burner.

use std::path;

use ssts_proto::v1::{Burner, CpuBurner, CpuIsa, CpuKernel, DiskAccess, DiskBurner, Phase, Scenario, burner};

use super::{
    Plan,
    origin::{Origin, Place},
};
use crate::{
    cli::{BurnCpu, BurnDisk},
    error::Failure,
};

/// `burn cpu`.
pub(crate) fn burn_cpu(flags: &BurnCpu) -> Plan {
    let cpu = CpuBurner {
        cores: flags.cores.as_ref().map(|cores| cores.0.clone()).unwrap_or_default(),
        load: Some(flags.load),
        kernel: CpuKernel::from(flags.kernel).into(),
        isa: CpuIsa::from(flags.isa).into(),
    };
    let places = [("cores", "--cores"), ("load", "--load"), ("kernel", "--kernel"), ("isa", "--isa")];
    single("burn-cpu", flags.duration, burner::Kind::Cpu(cpu), &places)
}

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

fn single(name: &str, duration_ms: u64, kind: burner::Kind, places: &[(&str, &'static str)]) -> Plan {
    let phase = Phase { name: name.into(), duration_ms, burners: vec![Burner { kind: Some(kind) }] };
    let mut origin = Origin::default();
    origin.set("phases", Place::Flag("--duration"));
    origin.set("phases[0].burners[0]", Place::Everywhere);
    for (field, flag) in places {
        origin.set(format!("phases[0].burners[0].{field}"), Place::Flag(flag));
    }
    let scenario = Scenario { name: name.into(), phases: vec![phase], ..Scenario::default() };
    Plan { scenario, origin, seed_is_given: false }
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
