//! Where the programs under test are.

use std::{env, fs, path::PathBuf};

/// The built programs, beside the test's own executable.
#[derive(Debug, Clone)]
pub struct Programs {
    /// Cargo's target folder.
    pub target: PathBuf,
    /// The daemon.
    pub sstsd: PathBuf,
    /// The client.
    pub sstsctl: PathBuf,
}

impl Programs {
    /// Those of the profile that the calling test was built with: `target/debug/deps/story-1a2b` is its own path.
    pub fn built() -> Self {
        let own = env::current_exe().expect("a test knows its own executable");
        let profile = own.ancestors().nth(2).expect("a test's executable is in target/PROFILE/deps");
        let (sstsd, sstsctl) = (profile.join("sstsd"), profile.join("sstsctl"));
        for program in [&sstsd, &sstsctl] {
            assert!(
                program.is_file(),
                "{} is not there: run `make test`, or `cargo build --workspace` first (with --release for benchmarks)",
                program.display()
            );
        }
        let target = profile.parent().expect("a profile's folder is in the target folder").to_owned();
        Self { target, sstsd, sstsctl }
    }

    /// The repository.
    pub fn repository() -> PathBuf {
        let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        manifest.parent().expect("the crate is in the repository").to_owned()
    }

    /// A folder for what tests write, on the disk that holds the target folder.
    pub(crate) fn scratch(&self) -> PathBuf {
        let folder = self.target.join("tmp");
        fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        folder
    }
}
