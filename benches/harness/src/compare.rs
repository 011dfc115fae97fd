//! Compares the function with the same work in plain Rust, Node and Python. Writes the table in `docs/performance.md`
//! and its chart.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::thread::available_parallelism;
use std::time::Instant;

use crate::chart::bars;
use crate::stage::{ROOTS, Stage};
use crate::{built, checkout, event, output};

/// The lines of the page around the results.
const BEGIN: &str = "<!-- make bench writes from here -->\n";
const END: &str = "<!-- to here -->";

/// How often each function is started. The first round warms up the machine and is not counted.
const ROUNDS: usize = 31;
/// How many webhooks of each kind a process receives, and how many more before them that are not counted.
const WEBHOOKS: usize = 60;
const UNCOUNTED: usize = 10;

const FIGURES: [&str; 5] =
    ["start to ready, ms", "start to first response, ms", "a webhook, µs", "a forged one, µs", "peak memory, MiB"];

type Figures = [f64; FIGURES.len()];

pub fn run() -> ExitCode {
    let python = checkout().join(".tools/emulators/bin/python");
    let peers = [
        ("pollo-webhook".to_owned(), vec![built("release/pollo-webhook")]),
        ("plain Rust".to_owned(), vec![built("release/plain")]),
        (format!("Node {}, AWS SDK 3", version("node")), vec!["node".into(), built("node/handler.mjs")]),
        (format!("Python {}, boto3", version("python3")), vec![python, checkout().join("benches/python/handler.py")]),
    ];
    let stage = Stage::new();
    let mut counted = vec![Vec::new(); peers.len()];
    for round in 0..ROUNDS {
        eprint!("\rround {round} of {}", ROUNDS - 1);
        for ((_, command), counted) in peers.iter().zip(&mut counted) {
            let figures = start_and_call(&stage, command);
            if round > 0 {
                counted.push(figures);
            }
        }
    }
    let medians = |rounds: &Vec<Figures>| {
        std::array::from_fn(|figure| median(rounds.iter().map(|figures| figures[figure]).collect()))
    };
    let rows: Vec<(&str, Figures)> =
        peers.iter().zip(&counted).map(|((name, _), rounds)| (name.as_str(), medians(rounds))).collect();

    let megabytes = |path| fs::metadata(built(path)).expect("a binary").len() as f64 / 1e6;
    let made = format!(
        "\nMade by `make bench` on {} at commit {}, on {}: medians of {} starts of each, in turn.\nSNS runs on the same \
         machine, over TLS, and responds at once. See [what the harness does not \
         model](#what-the-harness-does-not-model).\n\n{}\nThe binary of pollo-webhook has {:.1} MB, that of plain Rust \
         {:.1} MB.\n\n",
        output("date", &["-u", "+%Y-%m-%d"]),
        output("git", &["rev-parse", "--short", "HEAD"]),
        machine(),
        ROUNDS - 1,
        table(&rows),
        megabytes("release/pollo-webhook"),
        megabytes("release/plain"),
    );
    let panel = |figure: usize| (FIGURES[figure], rows.iter().map(|(name, values)| (*name, values[figure])).collect());
    fs::write(checkout().join("docs/benchmark.svg"), bars(&[1, 2, 3, 4].map(panel))).expect("docs can be written to");
    let file = checkout().join("docs/performance.md");
    let page = fs::read_to_string(&file).expect("the page is there");
    let (before, rest) = page.split_once(BEGIN).expect("the page says where the table begins");
    let (_, after) = rest.split_once(END).expect("the page says where the table ends");
    fs::write(&file, format!("{before}{BEGIN}{made}{END}{after}")).expect("docs can be written to");
    println!("\n{made}");
    ExitCode::SUCCESS
}

fn version(program: &str) -> String {
    output(program, &["--version"]).trim_start_matches(|c: char| !c.is_ascii_digit()).to_owned()
}

fn start_and_call(stage: &Stage, command: &[PathBuf]) -> Figures {
    let start = Instant::now();
    let mut function = stage.start(Command::new(&command[0]).args(&command[1..]), ROOTS);
    function.wait_until_ready();
    let until_ready = start.elapsed();
    let (status, _) = function.invoke(&event("succeed.json"));
    let until_response = start.elapsed();
    assert_eq!((status, function.published), (200, 1));

    let mut time = |name, expected| {
        let event = event(name);
        let times = (0..UNCOUNTED + WEBHOOKS).map(|_| {
            let (status, took) = function.invoke(&event);
            assert_eq!(status, expected);
            took.as_secs_f64() * 1e6
        });
        median(times.skip(UNCOUNTED).collect())
    };
    let (webhook, forged) = (time("succeed.json", 200), time("wrong-signature.json", 401));
    [
        until_ready.as_secs_f64() * 1e3,
        until_response.as_secs_f64() * 1e3,
        webhook,
        forged,
        function.memory("VmHWM") as f64 / 1024.0,
    ]
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}

/// The results as a Markdown table, with each ratio to the first row in brackets.
fn table(rows: &[(&str, Figures)]) -> String {
    let mut table = format!("| | {} |\n|---{}|\n", FIGURES.join(" | "), "|---".repeat(FIGURES.len()));
    for (name, values) in rows {
        let _ = write!(table, "| {name}");
        for (value, ours) in values.iter().zip(&rows[0].1) {
            let digits = usize::from(*value < 100.0);
            let _ = match std::ptr::eq(value, ours) {
                true => write!(table, " | **{value:.digits$}**"),
                false => write!(table, " | {value:.digits$} ({:.1} ×)", value / ours),
            };
        }
        table += " |\n";
    }
    table
}

fn machine() -> String {
    let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = information.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unknown processor", |(_, name)| name);
    let cores = available_parallelism().map_or(0, usize::from);
    format!("{cores} cores of {model}, {}", output("uname", &["-sr"]))
}
