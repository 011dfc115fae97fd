//! Signs a webhook as Pollo would, to try the function with: locally, or once it is deployed.
//!
//! It shares no code with the function, so that each checks the other.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{env, fs, io};

use aws_sdk_sns::primitives::{DateTime, DateTimeFormat};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use clap::{Args, Parser, Subcommand, ValueEnum};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;

/// Sign a webhook as Pollo would.
///
/// The key is read from the environment variable WEBHOOK_SECRET, as on Pollo's webhook page. If it holds several, separated
/// by commas or white space, the webhook gets a signature of each, as it may while a key is being rotated.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  export WEBHOOK_SECRET=cG9sbG8td2ViaG9vay1wdWJsaXNoZWQtdGVzdC1rZXk=
  cargo run --example sign -- event > succeed.json
  cargo run --example sign -- event --status failed --base64 > failed.json
  cargo run --example sign -- curl https://abc.lambda-url.us-east-1.on.aws/ | sh
  cargo run --example sign -- curl http://127.0.0.1:9000/ --tampered | sh")]
struct Cli {
    #[command(subcommand)]
    print: Print,
}

#[derive(Subcommand)]
enum Print {
    /// Print a function-URL event, for `cargo lambda invoke` and `sam local invoke`
    Event(Webhook),
    /// Print a curl command, for any URL
    Curl {
        /// The function's URL
        url: String,
        #[command(flatten)]
        webhook: Webhook,
    },
}

#[derive(Args)]
struct Webhook {
    /// taskId in the body
    #[arg(long, value_name = "ID", default_value = "cm9ap1d4e0001")]
    task_id: String,

    /// status in the body
    #[arg(long, value_enum, default_value_t = Status::Succeed)]
    status: Status,

    /// A file that holds the whole body, or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["task_id", "status"])]
    body: Option<PathBuf>,

    /// X-Webhook-Id [default: msg_ and the time]
    #[arg(long, value_name = "ID")]
    webhook_id: Option<String>,

    /// X-Webhook-Timestamp, signed as it is written [default: now, in Unix seconds]
    #[arg(long, value_name = "TIME")]
    timestamp: Option<String>,

    /// Have the body handed over in Base64, as a function URL does with one that is neither text nor JSON
    #[arg(long)]
    base64: bool,

    /// Wrong: change the body after signing it
    #[arg(long)]
    tampered: bool,

    /// Wrong: sign with a key that nobody has
    #[arg(long)]
    forged: bool,

    /// Wrong: sign with a timestamp of an hour ago
    #[arg(long, conflicts_with = "timestamp")]
    stale: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Status {
    Succeed,
    Failed,
}

/// A webhook as it is sent.
struct Signed {
    id: String,
    timestamp: String,
    signature: String,
    body: Vec<u8>,
    content_type: &'static str,
}

fn main() -> ExitCode {
    let printed = match Cli::parse().print {
        Print::Event(webhook) => sign(&webhook).and_then(|signed| event(&webhook, &signed)),
        Print::Curl { url, webhook } => sign(&webhook).map(|signed| curl(&url, &signed)),
    };
    match printed {
        Ok(printed) => println!("{printed}"),
        Err(error) => {
            eprintln!("sign: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn sign(webhook: &Webhook) -> Result<Signed, Box<dyn Error>> {
    let keys = env::var("WEBHOOK_SECRET")
        .map_err(|_| "WEBHOOK_SECRET is not set: set it to the Base64 key from Pollo's webhook page")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let sent = if webhook.stale { now - Duration::from_secs(3600) } else { now };
    let timestamp = webhook.timestamp.clone().unwrap_or_else(|| sent.as_secs().to_string());
    let id = webhook.webhook_id.clone().unwrap_or_else(|| format!("msg_{}", now.as_micros()));
    let mut body = match &webhook.body {
        Some(file) => read(file)?,
        None => {
            let status = match webhook.status {
                Status::Succeed => "succeed",
                Status::Failed => "failed",
            };
            format!(r#"{{"taskId":{},"status":"{status}"}}"#, json!(webhook.task_id)).into_bytes()
        }
    };

    let keys = if webhook.forged { vec![b"nobody has this key".to_vec()] } else { decode(&keys)? };
    let signatures: Vec<String> = keys
        .iter()
        .map(|key| {
            let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("an HMAC takes a key of any length");
            mac.update(format!("{id}.{timestamp}.").as_bytes());
            mac.update(&body);
            STANDARD.encode(mac.finalize().into_bytes())
        })
        .collect();

    if webhook.tampered {
        match body.iter().rposition(u8::is_ascii_lowercase) {
            Some(letter) => body[letter] = if body[letter] == b'x' { b'y' } else { b'x' },
            None => body.push(b' '),
        }
    }
    let content_type = if webhook.base64 { "application/octet-stream" } else { "application/json" };
    Ok(Signed { id, timestamp, signature: signatures.join(" "), body, content_type })
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    let read = if file == Path::new("-") {
        io::stdin().read_to_end(&mut body).map(drop)
    } else {
        fs::read(file).map(|bytes| body = bytes)
    };
    read.map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(body)
}

/// The bytes of each key. Keys under 16 bytes are rejected, as by the function.
fn decode(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let config = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let base64 = GeneralPurpose::new(&base64::alphabet::STANDARD, config);
    let keys = text.split(',').flat_map(|part| match part.trim() {
        "" => vec![""],
        part => part.split_whitespace().collect(),
    });
    let decoded = keys.zip(1..).map(|(key, number)| {
        let key = key.strip_prefix("whsec_").unwrap_or(key).replace('-', "+").replace('_', "/");
        match base64.decode(key) {
            Ok(bytes) if bytes.len() >= 16 => Ok(bytes),
            Ok(bytes) => Err(format!("WEBHOOK_SECRET: key {number} has {} bytes; at least 16 are needed", bytes.len())),
            Err(_) => Err(format!("WEBHOOK_SECRET: key {number} is not Base64")),
        }
    });
    decoded.collect()
}

/// The event that a function URL makes of the webhook, in payload format 2.0.
fn event(webhook: &Webhook, signed: &Signed) -> Result<String, Box<dyn Error>> {
    let body = if webhook.base64 {
        STANDARD.encode(&signed.body)
    } else {
        String::from_utf8(signed.body.clone()).map_err(|_| "the body is not UTF-8: give --base64")?
    };
    // The request comes in at the webhook's time, where that is one in Unix seconds.
    let given = webhook.timestamp.as_deref().and_then(|text| text.parse().ok());
    let received = match given.filter(|seconds| (0..100_000_000_000).contains(seconds)) {
        Some(seconds) => DateTime::from_secs(seconds),
        None => DateTime::from(SystemTime::now()),
    };
    let date = received.fmt(DateTimeFormat::HttpDate)?; // Thu, 01 Jan 2026 00:00:00 GMT
    let parts: Vec<&str> = date.split(' ').collect();
    let [_, day, month, year, time, _] = parts[..] else { return Err("no such date".into()) };
    let host = "abcdefghijklmnopqrstuvwxyz012345.lambda-url.us-east-1.on.aws";
    let event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": {
            "content-length": signed.body.len().to_string(),
            "content-type": signed.content_type,
            "host": host,
            "x-forwarded-for": "192.0.2.1",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
            "x-webhook-id": signed.id,
            "x-webhook-signature": signed.signature,
            "x-webhook-timestamp": signed.timestamp,
        },
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "abcdefghijklmnopqrstuvwxyz012345",
            "domainName": host,
            "domainPrefix": "abcdefghijklmnopqrstuvwxyz012345",
            "http": {
                "method": "POST",
                "path": "/",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "sign",
            },
            "requestId": "5b3f4f0e-0000-4000-8000-000000000000",
            "routeKey": "$default",
            "stage": "$default",
            "time": format!("{day}/{month}/{year}:{time} +0000"),
            "timeEpoch": received.to_millis()?,
        },
        "body": body,
        "isBase64Encoded": webhook.base64,
    });
    Ok(serde_json::to_string_pretty(&event)?)
}

fn curl(url: &str, signed: &Signed) -> String {
    let header = |name, value: &str| format!("-H {}", quoted(&format!("{name}: {value}")));
    let (before, body) = match str::from_utf8(&signed.body) {
        Ok(text) if !text.contains('\0') => (String::new(), format!("--data-raw {}", quoted(text))),
        _ => (format!("echo {} | base64 -d | ", STANDARD.encode(&signed.body)), "--data-binary @-".to_owned()),
    };
    [
        format!("{before}curl -sS -i {}", quoted(url)),
        header("Content-Type", signed.content_type),
        header("X-Webhook-Id", &signed.id),
        header("X-Webhook-Timestamp", &signed.timestamp),
        header("X-Webhook-Signature", &signed.signature),
        body,
    ]
    .join(" \\\n  ")
}

/// `text` as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
