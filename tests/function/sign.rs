//! The example `sign`, as a person calls it. Its signatures are checked by the function, its command by a shell's rules.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use serde_json::Value;

use crate::function::Function;
use crate::pollo::{KEY, NOW, SUCCEED};
use crate::sns::Reply;

/// The example, built now: what lies in the folder of examples may be of yesterday.
fn program() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--locked", "--example", "sign", "--message-format", "json"]);
        let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit()).output().unwrap();
        assert!(built.status.success(), "the example does not build");
        let messages = String::from_utf8(built.stdout).unwrap();
        let messages = messages.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let executables = messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
        { executables }.next_back().expect("cargo names what it has built")
    });
    &PROGRAM
}

fn run(secret: Option<&str>, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(program());
    command.args(arguments).env_remove("WEBHOOK_SECRET").envs(secret.map(|secret| ("WEBHOOK_SECRET", secret)));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sign starts");
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

fn event(arguments: &[&str], input: &[u8]) -> Value {
    let now = NOW.to_string();
    let output = run(Some(KEY), &[&["event", "--timestamp", &now], arguments].concat(), input);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn signs_events_that_the_function_takes() {
    let function = Function::start(&[Reply::Accept]).await;
    for (arguments, input, status) in [
        (&[][..], "", 200),
        (&["--status", "failed", "--task-id", "a \"b\""], "", 200),
        (&["--base64", "--webhook-id", "msg.1"], "", 200),
        (&["--body", "-"], "{\"status\":\"succeed\",\n\"taskId\":\"1\",\"é\":0}", 200),
        (&["--body", "-"], "{}", 422),
        (&["--tampered"], "", 401),
        (&["--tampered", "--body", "-"], "", 401),
        (&["--forged"], "", 401),
    ] {
        let answer = function.receive(&event(arguments, input.as_bytes())).await;
        assert_eq!(answer.status, status, "{arguments:?}");
    }
    assert_eq!(function.sns.calls()[0].field("Message"), Some(SUCCEED));
}

const OTHER_KEY: &str = "YW5vdGhlciBrZXkgb2YgUG9sbG8ncw==";
const THIRD_KEY: &str = "YSB0aGlyZCBrZXksIGFzIGxvbmc=";

#[tokio::test]
async fn signs_with_every_key_and_stale_on_request() {
    let output = run(
        Some(&format!("{OTHER_KEY}\r\n{THIRD_KEY}, whsec_{KEY}")),
        &["event", "--timestamp", &NOW.to_string()],
        b"",
    );
    let event: Value = serde_json::from_slice(&output.stdout).unwrap();
    for secret in [OTHER_KEY, THIRD_KEY, KEY] {
        let function = Function::with(&[Reply::Accept], &[("WEBHOOK_SECRET", secret)]).await;
        assert_eq!(function.receive(&event).await.status, 200);
    }
    let seconds = |arguments: &[&str]| {
        let output = run(Some(KEY), arguments, b"");
        let event: Value = serde_json::from_slice(&output.stdout).unwrap();
        event["headers"]["x-webhook-timestamp"].as_str().unwrap().parse::<u64>().unwrap()
    };
    let age = seconds(&["event"]) - seconds(&["event", "--stale"]);
    assert!((3590..=3600).contains(&age), "{age}");
}

#[test]
fn prints_a_curl_command_that_a_shell_takes_apart_rightly() {
    let body = "{\"taskId\":\"it's $HOME `id` \\\\ \\\"\",\n\"status\":\"failed\"}";
    let arguments = ["curl", "http://127.0.0.1:9/a?b=c&d", "--timestamp", "0", "--webhook-id", "msg'1", "--body", "-"];
    let command = String::from_utf8(run(Some(KEY), &arguments, body.as_bytes()).stdout).unwrap();
    let words =
        Command::new("sh").args(["-c", &format!("curl() {{ printf '%s\\0' \"$@\"; }}\n{command}")]).output().unwrap();
    let words = String::from_utf8(words.stdout).unwrap();
    let words: Vec<&str> = words.split_terminator('\0').collect();
    assert_eq!(words[..3], ["-sS", "-i", "http://127.0.0.1:9/a?b=c&d"]);
    assert!(words.contains(&"X-Webhook-Id: msg'1"), "{words:?}");
    assert_eq!(words[words.len() - 2..], ["--data-raw", body]);
}

#[test]
fn pipes_a_body_that_is_not_text_into_curl() {
    let body = b"\x00\xff'\n";
    let arguments = ["curl", "http://127.0.0.1:9/", "--body", "-"];
    let command = String::from_utf8(run(Some(KEY), &arguments, body).stdout).unwrap();
    let piped = Command::new("sh").args(["-c", &format!("curl() {{ cat; }}\n{command}")]).output().unwrap();
    assert_eq!(piped.stdout, body);
}

#[test]
fn says_what_is_wrong_with_the_key() {
    for (secret, expected) in [
        (None, "sign: WEBHOOK_SECRET is not set: set it to the Base64 key from Pollo's webhook page\n"),
        (Some(""), "sign: WEBHOOK_SECRET: key 1 has 0 bytes; at least 16 are needed\n"),
        (Some("changeme"), "sign: WEBHOOK_SECRET: key 1 has 6 bytes; at least 16 are needed\n"),
        (Some(&format!("{KEY} a!bc")), "sign: WEBHOOK_SECRET: key 2 is not Base64\n"),
        (Some(&format!("{KEY},")), "sign: WEBHOOK_SECRET: key 2 has 0 bytes; at least 16 are needed\n"),
    ] {
        let output = run(secret, &["event"], b"");
        assert_eq!((output.status.code(), &*String::from_utf8_lossy(&output.stderr)), (Some(1), expected));
    }
}
