//! Counts the function's instructions and the growth of its memory. Unlike times, these are the same on a busy machine
//! and an idle one.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use crate::stage::{ROOTS, Stage};
use crate::{checkout, event, output};

const WEBHOOKS: u64 = 20;

/// Over how many webhooks the growth of memory is measured. A tenth as many warm up the process before.
const MANY: u64 = 10_000;

/// Counts, and compares the counts with the ceilings in `benches/ceilings.txt`.
pub fn run(binary: &Path) -> ExitCode {
    assert!(
        Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_ok(),
        "valgrind is missing: install it (Debian and Ubuntu: apt install valgrind)"
    );
    // Without these files, it would not be noticed if the function read the system's roots at its start.
    assert!(
        fs::read_dir("/etc/ssl/certs").is_ok_and(|mut files| files.next().is_some()),
        "the system's roots are missing: install them (Debian and Ubuntu: apt install ca-certificates)"
    );
    let (webhook, forged) = (event("succeed.json"), event("wrong-signature.json"));
    let shipped = count(binary, &[], &[]);
    // The counts for webhooks are differences, all with SSL_CERT_FILE, which makes the function trust the stage's SNS.
    let named = count(binary, ROOTS, &[]);
    let first = count(binary, ROOTS, &[(&webhook, 1)]);
    let webhooks = count(binary, ROOTS, &[(&webhook, 1 + WEBHOOKS)]);
    let rejected = count(binary, ROOTS, &[(&webhook, 1), (&forged, WEBHOOKS)]);
    let size = fs::metadata(binary).expect("a binary").len();
    let counted = [
        ("instructions of the start", shipped),
        ("instructions of the start with SSL_CERT_FILE", named),
        ("instructions of the first webhook, TLS handshake included", first - named),
        ("instructions of a further webhook", (webhooks - first) / WEBHOOKS),
        ("instructions of a refusal", (rejected - first) / WEBHOOKS),
        ("bytes of the binary", size),
        ("bytes of memory more for each webhook", growth(binary, None)),
        ("bytes of memory more for each webhook with a trace id", growth(binary, Some(0))),
    ];

    let file = checkout().join("benches/ceilings.txt");
    let ceilings = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut above = false;
    println!("{:>13} {:>13}", "counted", "ceiling");
    for (name, count) in counted {
        let line = ceilings.lines().find_map(|line| line.strip_suffix(name));
        let ceiling = line.and_then(|number| number.trim().replace('_', "").parse::<u64>().ok());
        let ceiling = ceiling.unwrap_or_else(|| panic!("{} has no line of {name}", file.display()));
        above |= count > ceiling;
        println!("{count:>13} {ceiling:>13}  {name}{}", if count > ceiling { "  <- TOO MANY" } else { "" });
    }
    // Another compiler is not a failure, but can be the reason for other counts.
    let set_with = ceilings.lines().find(|line| line.starts_with("rustc "));
    let set_with = set_with.unwrap_or_else(|| panic!("{} names no compiler", file.display()));
    let compiler = output("rustc", &["--version"]);
    if compiler != set_with {
        println!("The ceilings were set with {set_with}; this machine has {compiler}.");
    }
    if above {
        println!("Find what made it slower or larger. To accept that, raise the ceiling in benches/ceilings.txt.");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// By how many bytes the memory of a process grows per webhook.
fn growth(binary: &Path, trace: Option<u64>) -> u64 {
    let events = ["succeed.json", "wrong-signature.json", "not-an-outcome.json"].map(event);
    let stage = Stage::new();
    let mut function = stage.start(&mut Command::new(binary), ROOTS);
    function.trace = trace;
    let mut before = 0;
    for (number, event) in (0..MANY + MANY / 10).zip(events.iter().cycle()) {
        if number == MANY / 10 {
            before = function.memory("RssAnon");
        }
        function.invoke(event);
    }
    function.memory("RssAnon").saturating_sub(before) * 1024 / MANY
}

/// The instructions of a process that handles each event the given number of times and then exits.
fn count(binary: &Path, roots: &[&str], events: &[(&String, u64)]) -> u64 {
    let stage = Stage::new();
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(binary).stderr(Stdio::piped());
    let mut function = stage.start(&mut command, roots);
    for (event, times) in events {
        for _ in 0..*times {
            function.invoke(event);
        }
    }
    function.wait_until_ready();
    let mut printed = function.process.stderr.take().expect("piped");
    let terminated = Command::new("kill").arg(function.process.id().to_string()).status();
    assert!(terminated.is_ok_and(|status| status.success()), "kill");
    let mut text = String::new();
    printed.read_to_string(&mut text).expect("text");
    let collected = text.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    collected.unwrap_or_else(|| panic!("valgrind printed no count:\n{text}"))
}
