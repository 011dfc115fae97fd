//! Compares the function with other implementations, or counts its instructions.

mod chart;
mod compare;
mod guard;
mod stage;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

/// The sample event in the file `name` of `events`.
fn event(name: &str) -> String {
    let file = checkout().join("events").join(name);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn checkout() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The path of a file in cargo's target folder.
fn built(path: &str) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| checkout().join("target"), PathBuf::from).join(path)
}

/// What a program prints, or an empty text if it is missing.
fn output(program: &str, arguments: &[&str]) -> String {
    let printed = Command::new(program).args(arguments).output().map(|output| output.stdout);
    String::from_utf8_lossy(&printed.unwrap_or_default()).trim().to_owned()
}

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["compare"] => compare::run(),
        ["guard", binary] => guard::run(Path::new(binary)),
        _ => {
            eprintln!("usage: harness compare | guard BINARY");
            ExitCode::FAILURE
        }
    }
}
