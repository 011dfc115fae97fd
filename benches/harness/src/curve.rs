//! The first webhook by the memory that Lambda is asked for: with it comes processor time, of which a function with
//! 1,769 MB has one processor's (an AWS rule). Held to it by a control group, which takes root.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, io};

use crate::chart::line;
use crate::stage::Stage;
use crate::{built, checkout, event, median};

const STARTS: usize = 101;
const MEGABYTES: [u64; 6] = [128, 192, 256, 512, 1024, 1769];
/// Dollars for a GB-second on x86 in us-east-1.
const PRICE: f64 = 0.000_016_666_7;

pub fn run() {
    let binary = built("release/pollo-webhook");
    let stage = Stage::new(true);
    let webhook = event("succeed.json");
    let mut points = Vec::new();
    println!("| memory, MB | start to first answer, ms | price of a million such starts, $ |\n|---|---|---|");
    for megabytes in MEGABYTES {
        let group = Group::new(megabytes).expect("a control group of one's own: this takes root on Linux");
        let times: Vec<f64> = (0..STARTS).map(|_| first_answer(&stage, &binary, &group, &webhook)).collect();
        let milliseconds = median(&times);
        let price = milliseconds / 1e3 * megabytes as f64 / 1024.0 * PRICE * 1e6;
        println!("| {megabytes} | {milliseconds:.1} | {price:.2} |");
        points.push((format!("{megabytes} MB"), milliseconds, format!("{milliseconds:.0} ms, ${price:.2}")));
    }
    let title = "Start to first answer by memory, and the price of a million of them";
    fs::write(checkout().join("docs/memory.svg"), line(title, &points)).expect("docs can be written to");
}

fn first_answer(stage: &Stage, binary: &Path, group: &Group, webhook: &str) -> f64 {
    let mut command = Command::new("sh");
    // The shell joins the group, and then becomes the function.
    command.args(["-c", "echo $$ > \"$0\" && exec \"$1\""]).arg(group.0.join("cgroup.procs")).arg(binary);
    let start = Instant::now();
    let mut function = stage.start(&mut command);
    let ready = function.wait_until_ready();
    assert_eq!(function.invoke(ready, webhook).status, 200);
    start.elapsed().as_secs_f64() * 1e3
}

struct Group(PathBuf);

impl Group {
    fn new(megabytes: u64) -> io::Result<Self> {
        const PERIOD: u64 = 20_000;
        let quota = PERIOD * megabytes / 1769;
        let name = format!("pollo-webhook-{megabytes}");
        let (old, new) = (Path::new("/sys/fs/cgroup/cpu").join(&name), Path::new("/sys/fs/cgroup").join(&name));
        if Path::new("/sys/fs/cgroup/cpu").exists() {
            fs::create_dir_all(&old)?;
            fs::write(old.join("cpu.cfs_period_us"), PERIOD.to_string())?;
            fs::write(old.join("cpu.cfs_quota_us"), quota.to_string())?;
            return Ok(Self(old));
        }
        fs::create_dir_all(&new)?;
        fs::write(new.join("cpu.max"), format!("{quota} {PERIOD}"))?;
        Ok(Self(new))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A process that was killed takes a moment to leave.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
