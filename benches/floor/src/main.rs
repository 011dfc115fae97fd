//! No retries, no time-outs, no log but a line: only what an answer cannot do without.

use std::collections::BTreeMap;
use std::env;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use form_urlencoded::Serializer;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

struct Sns {
    host: String,
    tls: Option<Arc<ClientConfig>>,
    connection: Option<Box<dyn Stream>>,
    region: String,
    access_key: String,
    secret_key: String,
    token: String,
}

fn main() {
    let variable = |name: &str| env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let key = STANDARD.decode(variable("WEBHOOK_SECRET")).expect("Base64");
    let topic = variable("SNS_TOPIC_ARN");
    let endpoint = variable("AWS_ENDPOINT_URL_SNS");
    let (scheme, host) = endpoint.split_once("://").expect("a URL");
    let mut sns = Sns {
        host: host.to_owned(),
        tls: (scheme == "https").then(|| tls(&variable("SSL_CERT_FILE"))),
        connection: None,
        region: variable("AWS_REGION"),
        access_key: variable("AWS_ACCESS_KEY_ID"),
        secret_key: variable("AWS_SECRET_ACCESS_KEY"),
        token: variable("AWS_SESSION_TOKEN"),
    };
    let api = variable("AWS_LAMBDA_RUNTIME_API");
    let mut runtime = TcpStream::connect(&api).expect("the Runtime API");
    runtime.set_nodelay(true).expect("a connection without delay");
    loop {
        let next = format!("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: {api}\r\n\r\n");
        runtime.write_all(next.as_bytes()).expect("the Runtime API");
        let (head, event) = receive(&mut runtime);
        let id = header(&head, "lambda-runtime-aws-request-id").expect("a request id");
        let (status, body) = handle(&serde_json::from_slice(&event).expect("an event"), &key, &topic, &mut sns);
        let answer = json!({ "statusCode": status, "body": body.to_string() }).to_string();
        let response = format!(
            "POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nHost: {api}\r\nContent-Length: {}\r\n\r\n{answer}",
            answer.len()
        );
        runtime.write_all(response.as_bytes()).expect("the Runtime API");
        receive(&mut runtime);
    }
}

fn handle(event: &Value, key: &[u8], topic: &str, sns: &mut Sns) -> (u16, Value) {
    let header = |name: &str| event["headers"][name].as_str().unwrap_or_default();
    let (id, timestamp) = (header("x-webhook-id"), header("x-webhook-timestamp"));
    let body = event["body"].as_str().unwrap_or_default();
    let signature = STANDARD.decode(header("x-webhook-signature")).unwrap_or_default();
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    for part in [id, ".", timestamp, ".", body] {
        mac.update(part.as_bytes());
    }
    if mac.verify_slice(&signature).is_err() {
        println!(r#"{{"level":"WARN"}}"#);
        return (401, json!({ "error": "signature does not match" }));
    }
    let outcome: Value = serde_json::from_str(body).expect("JSON");
    let mut form = Serializer::new(String::new());
    form.append_pair("Action", "Publish").append_pair("Version", "2010-03-31").append_pair("TopicArn", topic);
    form.append_pair("Message", body);
    let text = |name: &str| outcome[name].as_str().unwrap_or_default();
    let attributes =
        [("status", text("status")), ("taskId", text("taskId")), ("webhookId", id), ("webhookTimestamp", timestamp)];
    for (number, (name, value)) in (1..).zip(attributes) {
        let entry = format!("MessageAttributes.entry.{number}");
        form.append_pair(&format!("{entry}.Name"), name);
        form.append_pair(&format!("{entry}.Value.DataType"), "String");
        form.append_pair(&format!("{entry}.Value.StringValue"), value);
    }
    let answer = sns.call(&form.finish());
    let message_id = answer.split("<MessageId>").nth(1).and_then(|rest| rest.split('<').next()).expect("a message id");
    println!(r#"{{"level":"INFO"}}"#);
    (200, json!({ "messageId": message_id }))
}

impl Sns {
    fn call(&mut self, body: &str) -> String {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs();
        let date = date(seconds);
        let day = &date[..8];
        let signed = BTreeMap::from([
            ("content-type", "application/x-www-form-urlencoded"),
            ("host", &self.host),
            ("x-amz-date", &date),
            ("x-amz-security-token", &self.token),
        ]);
        let names = signed.keys().copied().collect::<Vec<_>>().join(";");
        let headers: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let request = format!("POST\n/\n\n{headers}\n{names}\n{}", hex(&Sha256::digest(body)));
        let scope = format!("{day}/{}/sns/aws4_request", self.region);
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(request)));
        let mut key = format!("AWS4{}", self.secret_key).into_bytes();
        for part in [day, &self.region, "sns", "aws4_request", &text] {
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key of any length");
            mac.update(part.as_bytes());
            key = mac.finalize().into_bytes().to_vec();
        }
        let lines: String = signed.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!(
            "POST / HTTP/1.1\r\n{lines}Authorization: AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, \
             Signature={}\r\nContent-Length: {}\r\n\r\n{body}",
            self.access_key,
            hex(&key),
            body.len()
        );
        let (host, tls) = (&self.host, &self.tls);
        let connection = self.connection.get_or_insert_with(|| connect(host, tls.as_ref()));
        connection.write_all(request.as_bytes()).expect("SNS");
        let (head, answer) = receive(connection);
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        String::from_utf8(answer).expect("text")
    }
}

fn tls(roots: &str) -> Arc<ClientConfig> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(CertificateDer::pem_file_iter(roots).expect("a file").flatten());
    ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_root_certificates(store)
        .with_no_client_auth()
        .into()
}

fn connect(host: &str, tls: Option<&Arc<ClientConfig>>) -> Box<dyn Stream> {
    let stream = TcpStream::connect(host).expect("SNS");
    stream.set_nodelay(true).expect("a connection without delay");
    let Some(config) = tls else { return Box::new(stream) };
    let name = ServerName::try_from(host.split(':').next().unwrap_or_default().to_owned()).expect("a name");
    Box::new(StreamOwned::new(ClientConnection::new(config.clone(), name).expect("TLS"), stream))
}

/// The head and the body of an answer.
fn receive(stream: &mut (impl Read + ?Sized)) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16_384];
    loop {
        let count = stream.read(&mut buffer).expect("an answer");
        assert!(count > 0, "the connection was closed");
        bytes.extend_from_slice(&buffer[..count]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let length: usize = header(&head, "content-length").and_then(|text| text.parse().ok()).expect("a length");
        if bytes.len() >= end + 4 + length {
            return (head, bytes[end + 4..end + 4 + length].to_vec());
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `20260101T000000Z`
fn date(seconds: u64) -> String {
    let (mut days, time) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year:04}{month:02}{:02}T{hour:02}{minute:02}{second:02}Z", days + 1)
}
