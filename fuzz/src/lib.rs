//! The function as `main` builds it, with a fake SNS, and the properties that hold for every request.

pub mod oracle;

use std::collections::BTreeMap;
use std::env::VarError;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, SystemTime};

use aws_smithy_http_client::test_util::infallible_client_fn;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiter::JsonValue;
use lambda_http::Request;
use lambda_http::http::Response;
use lambda_runtime::tracing::subscriber::fmt::MakeWriter as _;
use lambda_runtime::tracing::subscriber::util::SubscriberInitExt as _;
use pollo_webhook::{Config, Handler, SnsPublisher, log};
use signer::{KEY, NOW};
use tokio::runtime::{self, Runtime};

static CALLS: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| runtime::Builder::new_current_thread().enable_time().build().expect("a runtime"));

/// One function without the timestamp check and with a standard topic, and one with the check and with a FIFO topic.
static FUNCTIONS: LazyLock<[Function; 2]> = LazyLock::new(|| {
    log::subscriber(|| LOG.make_writer()).init();
    [
        Function::new("0", "arn:aws:sns:us-east-1:123456789012:pollo-outcomes"),
        Function::new("300", "arn:aws:sns:us-east-1:123456789012:pollo-outcomes.fifo"),
    ]
});

struct Function {
    handler: Handler,
    tolerance: &'static str,
    topic: &'static str,
}

/// Sends `request` to both functions. Panics if a property does not hold.
pub fn receive(request: &Request) {
    for function in &*FUNCTIONS {
        CALLS.lock().expect("calls").clear();
        LOG.lock().expect("a log").clear();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        let response = RUNTIME.block_on(function.handler.handle(request, now));

        let webhook = oracle::Webhook::of(request);
        let published = response.status() == 200;
        let verdict = oracle::is_valid(request, function.tolerance == "300");
        assert!(verdict.is_none_or(|valid| valid == published), "responded {} to {request:?}", response.status());
        let calls = CALLS.lock().expect("calls");
        assert_eq!(calls.len(), usize::from(published), "calls of SNS for {}", response.status());
        calls.iter().for_each(|call| function.check_call(call, &webhook));
        let log = LOG.lock().expect("a log");
        let line = log.strip_suffix(b"\n").filter(|line| !line.contains(&b'\n')).expect("one line in the log");
        assert!(line.len() < 65_536, "a line of {} bytes", line.len());
        check_secrets(line, response.body(), &webhook);
        check_logged_body(line, webhook.body, oracle::is_authentic(request) && !published);
    }
}

impl Function {
    fn new(tolerance: &'static str, topic: &'static str) -> Self {
        let config = Config::from_lookup(|variable| match variable {
            "WEBHOOK_SECRET" => Ok(KEY.to_owned()),
            "WEBHOOK_TOLERANCE_SECONDS" => Ok(tolerance.to_owned()),
            "SNS_TOPIC_ARN" => Ok(topic.to_owned()),
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Ok("fuzz".to_owned()),
            _ => Err(VarError::NotPresent),
        });
        let config = config.expect("a configuration");
        let sns_client = config.sns_client.http_client(infallible_client_fn(|call| {
            let body = call.body().bytes().expect("a body in memory").to_vec();
            CALLS.lock().expect("calls").push(body);
            Response::new("<PublishResponse><PublishResult><MessageId>m</MessageId></PublishResult></PublishResponse>")
        }));
        Self { handler: Handler::new(config.verifier, SnsPublisher::new(sns_client, config.topic)), tolerance, topic }
    }

    /// Checks that SNS received the body byte for byte, the four attributes, the fields of a FIFO topic and no others.
    fn check_call(&self, call: &[u8], webhook: &oracle::Webhook<'_>) {
        let mut fields: BTreeMap<_, _> = form_urlencoded::parse(call).collect();
        assert_eq!(fields.len(), form_urlencoded::parse(call).count(), "a field is repeated");
        let mut field = |name: &str| fields.remove(name).unwrap_or_else(|| panic!("no {name}")).into_owned();
        assert_eq!([field("Action"), field("Version"), field("TopicArn")], ["Publish", "2010-03-31", self.topic]);
        assert_eq!(field("Message").as_bytes(), webhook.body);
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
        if let Some(Some((task_id, status))) = oracle::read(webhook.body) {
            assert_eq!((&attributes["taskId"], &attributes["status"]), (&task_id, &status));
        }
        assert_eq!(attributes["webhookId"].as_bytes(), webhook.id);
        assert_eq!(attributes["webhookTimestamp"].as_bytes(), webhook.timestamp);
    }
}

/// Checks that the line has the body if it `needs_replay` and is not too large, and never otherwise.
fn check_logged_body(line: &[u8], body: &[u8], needs_replay: bool) {
    let Ok(JsonValue::Object(line)) = JsonValue::parse(line, false) else { panic!("a line that is not an object") };
    let field = |name| line.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    let logged = match (field("body"), field("bodyBase64")) {
        (Some(JsonValue::Str(text)), None) => Some(text.as_bytes().to_vec()),
        (None, Some(JsonValue::Str(base64))) => Some(STANDARD.decode(base64.as_bytes()).expect("Base64")),
        (None, None) => None,
        fields => panic!("{fields:?}"),
    };
    assert_eq!(logged.as_deref(), Some(body).filter(|_| needs_replay && body.len() <= 30_000));
}

/// Checks that neither the line nor the response contains the key or the correct MAC, unless the request does.
fn check_secrets(line: &[u8], response: &[u8], webhook: &oracle::Webhook<'_>) {
    for secret in [KEY, &webhook.mac()] {
        let is_in = |text: &[u8]| text.windows(secret.len()).any(|part| part == secret.as_bytes());
        let was_sent = [webhook.id, webhook.timestamp, webhook.body].into_iter().any(is_in);
        assert!(was_sent || !is_in(line) && !is_in(response), "a secret in {}", line.escape_ascii());
    }
}
