//! The function as `main` builds it, with a fake SNS, and the properties that hold for every request.

mod allocated;
pub mod oracle;
#[path = "../../tests/function/signer.rs"]
mod signer;

use std::collections::BTreeMap;
use std::env::VarError;
use std::io;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, SystemTime};

use aws_smithy_http_client::test_util::infallible_client_fn;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiter::JsonValue;
use lambda_http::http::Response;
use lambda_http::{Body, Request};
use lambda_runtime::tracing::subscriber::util::SubscriberInitExt as _;
use pollo_webhook::{Config, Handler, MAX_MESSAGE_BYTES, SnsPublisher, log};
use tokio::runtime::{self, Runtime};

pub use allocated::allocated;
pub use signer::{KEY, KEY_BYTES, NOW, sign};

/// Most bytes that a request may allocate in total, freed or not: a constant, and a part per byte of the headers and
/// the body. Twice the highest measured values: 63 KB for the first published request, and 122 bytes per byte of a
/// `taskId` that is an array of numbers. A published request takes 20 to 30 bytes per byte.
const ALLOCATED_ALWAYS: usize = 128 << 10;
const ALLOCATED_PER_BYTE: usize = 256;

const PUBLISHED: &str = "<PublishResponse><PublishResult><MessageId>m</MessageId></PublishResult></PublishResponse>";

static CALLS: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| runtime::Builder::new_current_thread().enable_time().build().expect("a runtime"));

/// One function without the timestamp check and with a standard topic, and one with the check and with a FIFO topic.
static FUNCTIONS: LazyLock<[Function; 2]> = LazyLock::new(|| {
    log::subscriber(|| Log).init();
    [
        Function::new("0", "arn:aws:sns:us-east-1:123456789012:pollo-outcomes"),
        Function::new("300", "arn:aws:sns:us-east-1:123456789012:pollo-outcomes.fifo"),
    ]
});

struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().expect("a log").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends `request` to both functions.
///
/// # Panics
///
/// If a property does not hold.
pub fn receive(request: &Request) {
    for function in &*FUNCTIONS {
        function.receive(request);
    }
}

struct Function {
    handler: Handler,
    tolerance: &'static str,
    topic: &'static str,
}

impl Function {
    fn new(tolerance: &'static str, topic: &'static str) -> Self {
        let environment = [
            ("WEBHOOK_SECRET", KEY),
            ("WEBHOOK_TOLERANCE_SECONDS", tolerance),
            ("SNS_TOPIC_ARN", topic),
            ("AWS_ACCESS_KEY_ID", "fuzz"),
            ("AWS_SECRET_ACCESS_KEY", "fuzz"),
        ];
        let config = Config::from_lookup(|variable| {
            let set = environment.iter().find(|(name, _)| *name == variable);
            set.map(|(_, value)| (*value).to_owned()).ok_or(VarError::NotPresent)
        });
        let config = config.expect("a configuration");
        let sdk = config.sdk.http_client(infallible_client_fn(|call| {
            let body = call.body().bytes().expect("a body in memory").to_vec();
            CALLS.lock().expect("calls").push(body);
            Response::new(PUBLISHED)
        }));
        Self { handler: Handler::new(config.verifier, SnsPublisher::new(sdk, config.topic)), tolerance, topic }
    }

    fn receive(&self, request: &Request) {
        CALLS.lock().expect("calls").clear();
        LOG.lock().expect("a log").clear();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        let (response, allocated) = allocated(|| RUNTIME.block_on(self.handler.handle_at(request, now)));

        let headers: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let bytes = headers + request.body().len();
        let most = ALLOCATED_ALWAYS + ALLOCATED_PER_BYTE * bytes;
        assert!(allocated <= most, "{allocated} bytes were allocated for a request of {bytes}");

        let webhook = oracle::Webhook::of(request);
        let calls = CALLS.lock().expect("calls");
        let published = response.status() == 200;
        let verdict = oracle::is_valid(request, self.tolerance == "300");
        assert!(verdict.is_none_or(|valid| valid == published), "responded {} to {request:?}", response.status());
        assert_eq!(calls.len(), usize::from(published), "calls of SNS for {}", response.status());
        for call in &*calls {
            self.check_call(call, &webhook);
        }
        check_secrets(&response, &webhook);
        check_logged_body(webhook.body, oracle::is_authentic(request) && !published);
    }

    /// Checks that SNS received the body byte for byte, the four attributes, the fields of a FIFO topic and no others.
    fn check_call(&self, call: &[u8], webhook: &oracle::Webhook<'_>) {
        let mut fields: BTreeMap<_, _> = form_urlencoded::parse(call).collect();
        assert_eq!(fields.len(), form_urlencoded::parse(call).count(), "a field is repeated");
        let mut field = |name: &str| fields.remove(name).unwrap_or_else(|| panic!("no {name}")).into_owned();
        assert_eq!(field("Action"), "Publish");
        assert_eq!(field("Version"), "2010-03-31");
        assert_eq!(field("TopicArn"), self.topic);
        let message = field("Message");
        assert_eq!(message.as_bytes(), webhook.body);
        let attributes: BTreeMap<_, _> = (1..=4)
            .map(|number| {
                let entry = format!("MessageAttributes.entry.{number}");
                assert_eq!(field(&format!("{entry}.Value.DataType")), "String");
                (field(&format!("{entry}.Name")), field(&format!("{entry}.Value.StringValue")))
            })
            .collect();
        if self.topic.ends_with(".fifo") {
            for name in ["MessageGroupId", "MessageDeduplicationId"] {
                let id = field(name);
                assert!((1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()), "{name} {id}");
            }
        }
        assert!(fields.is_empty(), "{fields:?}");

        let (task_id, status) = (&attributes["taskId"], &attributes["status"]);
        assert!(oracle::is_task_id(task_id) && oracle::is_status(status), "{attributes:?}");
        if let oracle::Body::Outcome(outcome) = oracle::read(webhook.body) {
            assert_eq!((task_id, status), (&outcome.task_id, &outcome.status));
        }
        assert_eq!(attributes["webhookId"].as_bytes(), webhook.id);
        assert_eq!(attributes["webhookTimestamp"].as_bytes(), webhook.timestamp);
        let size: usize = attributes.iter().map(|(name, value)| name.len() + "String".len() + value.len()).sum();
        assert!(message.len() + size <= MAX_MESSAGE_BYTES);
    }
}

/// Checks that the log has the body if it `needs_replay` and is not too large for a line, and never otherwise.
fn check_logged_body(body: &[u8], needs_replay: bool) {
    let log = LOG.lock().expect("a log");
    let Ok(JsonValue::Object(line)) = JsonValue::parse(log.trim_ascii_end(), false) else { panic!("no line") };
    let field = |name| line.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    let logged = match (field("body"), field("bodyBase64")) {
        (Some(JsonValue::Str(text)), None) => Some(text.as_bytes().to_vec()),
        (None, Some(JsonValue::Str(base64))) => Some(STANDARD.decode(base64.as_bytes()).expect("Base64")),
        (None, None) => None,
        fields => panic!("{fields:?}"),
    };
    let is_small = body.len() <= 262_144;
    assert_eq!(logged.as_deref(), Some(body).filter(|_| needs_replay && is_small));
    let has_size = matches!(field("bodyBytes"), Some(JsonValue::Int(bytes)) if *bytes as usize == body.len());
    assert!(!needs_replay || is_small || has_size);
    assert!(log.len() < 1_000_000, "a line of {} bytes", log.len());
}

/// Checks that the log has one line, a JSON object, and that neither the line nor the response contains the key or the
/// correct MAC. Both may repeat parts of the request that contain one of these.
fn check_secrets(response: &Response<Body>, webhook: &oracle::Webhook<'_>) {
    let log = LOG.lock().expect("a log");
    let line = log.strip_suffix(b"\n").filter(|line| !line.contains(&b'\n')).expect("one line in the log");
    assert!(matches!(JsonValue::parse(line, false), Ok(JsonValue::Object(_))), "{}", line.escape_ascii());
    let mac = webhook.mac();
    let task_id = match oracle::read(webhook.body) {
        oracle::Body::Outcome(outcome) => outcome.task_id,
        _ => String::new(),
    };
    // The Base64 of a body that contains the key's bytes can contain the key's text.
    for secret in [&[KEY.as_bytes(), KEY_BYTES][..], &[mac.as_bytes()]] {
        let is_in = |text: &[u8]| secret.iter().any(|form| text.windows(form.len()).any(|part| part == *form));
        let was_sent = [webhook.id, webhook.timestamp, webhook.body, task_id.as_bytes()].into_iter().any(is_in);
        assert!(was_sent || !is_in(line), "a secret in the log: {}", line.escape_ascii());
        assert!(was_sent || !is_in(response.body()), "a secret in the response");
    }
}
