//! What packagers install beside the programs.

use std::fs;

use ssts_tests::{Ctl, Ground};

#[test]
fn completion_scripts_name_the_commands() {
    let ground = Ground::new();
    for (shell, mark) in
        [("bash", "complete -F"), ("zsh", "#compdef sstsctl"), ("fish", "complete -c sstsctl")]
    {
        let outcome = Ctl::bare(&ground).args(["completions", shell]).run();
        outcome.assert_status(0);
        for part in [mark, "burn", "halt", "--max-temperature", "max-temperature"]
            .iter()
            .filter(|part| shell != "fish" || !part.starts_with("--"))
        {
            assert!(outcome.stdout.contains(part), "{shell}: '{part}' is missing");
        }
    }
    Ctl::bare(&ground).args(["completions", "tcsh"]).run().assert_status(2);
}

#[test]
fn manual_pages_render_one_for_each_command() {
    let ground = Ground::new();
    let folder = ground.path("man");
    let path = folder.to_str().expect("the path is ASCII");
    Ctl::bare(&ground).args(["man", path]).run().assert_status(0);
    for page in ["sstsctl.1", "sstsctl-run.1", "sstsctl-burn-cpu.1", "sstsctl-halt.1"] {
        let text = fs::read_to_string(folder.join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(text.contains(".TH") && text.contains(".SH NAME"), "{page}: {text}");
    }
    let first = Ctl::bare(&ground).args(["man"]).run();
    first.assert_status(0);
    assert!(first.stdout.contains(".TH sstsctl 1"), "{}", first.stdout);
}

/// Every command explains itself, and the exit statuses stand in the help.
#[test]
fn help_names_the_exit_statuses_and_the_version() {
    let ground = Ground::new();
    let help = Ctl::bare(&ground).args(["--help"]).run();
    help.assert_status(0);
    assert!(
        help.stdout.contains("130") && help.stdout.to_lowercase().contains("exit status"),
        "{}",
        help.stdout
    );
    let version = Ctl::bare(&ground).args(["--version"]).run();
    version.assert_status(0);
    assert!(version.stdout.starts_with("sstsctl "), "{}", version.stdout);
}
