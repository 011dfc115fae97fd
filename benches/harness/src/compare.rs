//! The function beside the same work in Python, in Node and in plain Rust: one run, in turn.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::chart::bars;
use crate::stage::Stage;
use crate::{built, checkout, event, median, output};

/// How often each is started. The first round warms the machine up and is not counted.
const ROUNDS: usize = 31;
/// How many webhooks of each kind a process gets, after the first few.
const WEBHOOKS: usize = 60;
const UNCOUNTED: usize = 10;

struct Peer {
    name: String,
    command: Vec<PathBuf>,
    /// Of each round.
    figures: Vec<[f64; FIGURES.len()]>,
}

const FIGURES: [(&str, &str); 6] = [
    ("start to ready", "ms"),
    ("start to first answer", "ms"),
    ("a webhook, own time", "µs"),
    ("a forged one, own time", "µs"),
    ("processor time of a webhook", "µs"),
    ("peak memory", "MiB"),
];

pub fn run() {
    let mut left_out = Vec::new();
    let mut peers = Vec::new();
    for (name, command) in [
        ("pollo-webhook".to_owned(), vec![built("release/pollo-webhook")]),
        ("plain Rust".to_owned(), vec![built("release/plain")]),
        (format!("Node{}, AWS SDK 3", version("node")), vec!["node".into(), built("node/handler.mjs")]),
        (
            format!("Python{}, boto3", version("python3")),
            vec![checkout().join(".tools/emulators/bin/python"), checkout().join("benches/python/handler.py")],
        ),
    ] {
        let there = |part: &PathBuf| part.exists() || !output(&part.to_string_lossy(), &["--version"]).is_empty();
        if command.iter().all(there) {
            peers.push(Peer { name, command, figures: Vec::new() });
        } else {
            left_out.push(name);
        }
    }
    let rust = ["pollo-webhook", "plain Rust"];
    assert!(peers.iter().map(|peer| &*peer.name).take(2).eq(rust), "`make bench` builds what is missing: {left_out:?}");

    let mut page = format!(
        "# Benchmark\n\nMade by `make bench` on {}, {}: medians of {} starts of each, in turn. Everything is on one \
         machine, and SNS answers at once; own time is from the event to the answer, without SNS's.\n",
        output("date", &["-u", "+%Y-%m-%d"]),
        machine(),
        ROUNDS - 1,
    );
    for over_tls in [true, false] {
        measure(&mut peers, over_tls);
        let title = if over_tls { "SNS over TLS, as on AWS" } else { "SNS over plain HTTP" };
        let _ = writeln!(page, "\n## {title}\n\n{}", table(&peers));
        if over_tls {
            fs::write(checkout().join("docs/benchmark.svg"), chart(&peers)).expect("docs can be written to");
        }
    }
    let sizes = |path: &Path| fs::metadata(path).map_or(f64::NAN, |file| file.len() as f64 / 1e6);
    let _ = write!(page, "## Size\n\n| | binary, MB |\n|---|---|\n");
    for peer in peers.iter().filter(|peer| peer.command.len() == 1) {
        let _ = writeln!(page, "| {} | {:.1} |", peer.name, sizes(&peer.command[0]));
    }
    for name in left_out {
        let _ = writeln!(page, "\nLeft out, because it is not on this machine: {name}.");
    }
    fs::write(checkout().join("docs/benchmark.md"), &page).expect("docs can be written to");
    println!("{page}");
}

/// With a space before it, or nothing if the program is not there.
fn version(program: &str) -> String {
    let printed = output(program, &["--version"]);
    printed.find(|c: char| c.is_ascii_digit()).map_or_else(String::new, |start| format!(" {}", &printed[start..]))
}

fn measure(peers: &mut [Peer], over_tls: bool) {
    let stage = Stage::new(over_tls);
    let (webhook, forged) = (event("succeed.json"), event("wrong-signature.json"));
    for peer in &mut *peers {
        peer.figures.clear();
    }
    for round in 0..ROUNDS {
        eprint!("\rround {round} of {}", ROUNDS - 1);
        for peer in &mut *peers {
            let figures = start_and_call(&stage, &peer.command, &webhook, &forged);
            if round > 0 {
                peer.figures.push(figures);
            }
        }
    }
    eprintln!();
}

fn start_and_call(stage: &Stage, command: &[PathBuf], webhook: &str, forged: &str) -> [f64; FIGURES.len()] {
    let mut process = Command::new(&command[0]);
    process.args(&command[1..]);
    let start = Instant::now();
    let mut function = stage.start(&mut process);
    let mut ready = function.wait_until_ready();
    let until_ready = start.elapsed();
    let answer = function.invoke(ready, webhook);
    let until_answer = start.elapsed();
    assert_eq!((answer.status, function.published), (200, 1));

    let mut own = [Vec::new(), Vec::new()];
    let mut processor_time = 0.0;
    for (times, (event, status)) in own.iter_mut().zip([(webhook, 200), (forged, 401)]) {
        for number in 0..UNCOUNTED + WEBHOOKS {
            ready = function.wait_until_ready();
            if status == 200 && (number == UNCOUNTED || number == UNCOUNTED + WEBHOOKS - 1) {
                processor_time = function.processor_time().as_secs_f64() - processor_time;
            }
            let answer = function.invoke(ready, event);
            assert_eq!(answer.status, status);
            if number >= UNCOUNTED {
                times.push(answer.own.as_secs_f64() * 1e6);
            }
        }
    }
    [
        until_ready.as_secs_f64() * 1e3,
        until_answer.as_secs_f64() * 1e3,
        median(&own[0]),
        median(&own[1]),
        processor_time * 1e6 / (WEBHOOKS - 1) as f64,
        function.peak_memory() as f64 / 1024.0,
    ]
}

impl Peer {
    fn median(&self, figure: usize) -> f64 {
        median(&self.figures.iter().map(|figures| figures[figure]).collect::<Vec<_>>())
    }

    /// Of this to another, in the same rounds.
    fn ratio(&self, other: &Self, figure: usize) -> f64 {
        let pairs = self.figures.iter().zip(&other.figures);
        median(&pairs.map(|(these, others)| these[figure] / others[figure]).collect::<Vec<_>>())
    }
}

/// In brackets, how many times as much as the function of this project.
fn table(peers: &[Peer]) -> String {
    let mut table = "|".to_owned();
    for (title, unit) in FIGURES {
        let _ = write!(table, " | {title}, {unit}");
    }
    let _ = write!(table, " |\n|---{}|\n", "|---".repeat(FIGURES.len()));
    for peer in peers {
        let _ = write!(table, "| {}", peer.name);
        for figure in 0..FIGURES.len() {
            let value = peer.median(figure);
            let digits = usize::from(value < 100.0);
            let _ = match std::ptr::eq(peer, &raw const peers[0]) {
                true => write!(table, " | **{value:.digits$}**"),
                false => write!(table, " | {value:.digits$} ({:.2} ×)", peer.ratio(&peers[0], figure)),
            };
        }
        table += " |\n";
    }
    table
}

fn chart(peers: &[Peer]) -> String {
    let panels = [1, 2, 3, 5].map(|figure| {
        let (title, unit) = FIGURES[figure];
        let rows = peers.iter().map(|peer| (peer.name.clone(), peer.median(figure)));
        (format!("{title}, {unit}"), rows.collect())
    });
    bars(&panels)
}

fn machine() -> String {
    let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = information.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{cores} cores of {}, {}",
        model.map_or("an unknown processor", |(_, name)| name),
        output("uname", &["-sr"])
    )
}
