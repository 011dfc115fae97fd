//! Runs a function between Lambda's Runtime API and SNS, both emulated on this machine.
//!
//! One thread serves both and never sleeps, so that it adds no delay. The harness uses one processor, and the function
//! another.

use std::env;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::built;

/// Longest wait for a call of the function.
const PATIENCE: Duration = Duration::from_secs(60);

const PUBLISHED: &str = "<PublishResponse><PublishResult><MessageId>m</MessageId></PublishResult></PublishResponse>";

/// The variables that make a function of each language trust the certificate of the stage's SNS. The shipped function
/// runs without them, and then cannot call that SNS.
pub const ROOTS: &[&str] = &["SSL_CERT_FILE", "AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"];

pub struct Stage {
    runtime_api: TcpListener,
    sns: TcpListener,
    tls: Arc<ServerConfig>,
    certificate: PathBuf,
}

/// A running function.
pub struct Function<'a> {
    stage: &'a Stage,
    pub process: Child,
    connections: Vec<Connection>,
    /// The connection on which the function waits for an event.
    waiting: Option<usize>,
    pub published: usize,
    /// The number of the next event's trace id, or `None` to send no trace ids.
    pub trace: Option<u64>,
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

struct Connection {
    stream: Box<dyn Stream>,
    is_sns: bool,
    inbox: Vec<u8>,
}

impl Stage {
    pub fn new() -> Self {
        let listen = || {
            let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
            listener.set_nonblocking(true).expect("a listener that does not block");
            listener
        };
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let certificate = built("harness-sns.pem");
        fs::write(&certificate, made.cert.pem()).expect("a folder to write to");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let tls = ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a certificate with its key");
        Self { runtime_api: listen(), sns: listen(), tls: tls.into(), certificate }
    }

    /// Starts a function with the certificate of the stage's SNS in each of the variables `roots`.
    pub fn start(&self, command: &mut Command, roots: &[&str]) -> Function<'_> {
        let address = |listener: &TcpListener| listener.local_addr().expect("an address");
        // No other variable of this machine: the function would read the roots that SSL_CERT_FILE names.
        let inherited = ["PATH", "HOME", "LANG"].into_iter().filter_map(|name| Some((name, env::var_os(name)?)));
        command
            .env_clear()
            .envs(inherited)
            .env("AWS_LAMBDA_RUNTIME_API", address(&self.runtime_api).to_string())
            .env("AWS_ENDPOINT_URL_SNS", format!("https://{}", address(&self.sns)))
            .envs(roots.iter().map(|name| (name, &self.certificate)))
            .envs([
                ("AWS_LAMBDA_FUNCTION_NAME", "pollo-webhook"),
                ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
                ("AWS_REGION", "us-east-1"),
                ("AWS_DEFAULT_REGION", "us-east-1"),
                ("AWS_ACCESS_KEY_ID", "local"),
                ("AWS_SECRET_ACCESS_KEY", "local"),
                ("AWS_SESSION_TOKEN", "local"),
                ("WEBHOOK_SECRET", "cG9sbG8td2ViaG9vay1wdWJsaXNoZWQtdGVzdC1rZXk="),
                ("WEBHOOK_TOLERANCE_SECONDS", "0"),
                ("SNS_TOPIC_ARN", "arn:aws:sns:us-east-1:123456789012:pollo-outcomes"),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let process = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        Function { stage: self, process, connections: Vec::new(), waiting: None, published: 0, trace: None }
    }
}

impl Function<'_> {
    /// Waits until the function asks for an event.
    pub fn wait_until_ready(&mut self) {
        if self.waiting.is_none() {
            let (connection, path, _) = self.next_call();
            assert!(path.ends_with("/invocation/next"), "instead of asking for an event: {path}");
            self.waiting = Some(connection);
        }
    }

    /// Sends `event` when the function asks for one. Returns the status of the response and the time until it came.
    pub fn invoke(&mut self, event: &str) -> (u16, Duration) {
        self.wait_until_ready();
        let trace = self.trace.map_or_else(String::new, |number| {
            self.trace = Some(number + 1);
            format!("Lambda-Runtime-Trace-Id: Root=1-69558b80-{number:024x};Parent=53995c3f42cd8ad8;Sampled=0\r\n")
        });
        let reply = format!(
            "HTTP/1.1 200 OK\r\n{trace}Lambda-Runtime-Aws-Request-Id: 5b3f4f0e-0000-4000-8000-000000000000\r\n\
             Lambda-Runtime-Deadline-Ms: 9999999999999\r\n\
             Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:123456789012:function:pollo-webhook\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{event}",
            event.len()
        );
        let connection = self.waiting.take().expect("a function that is ready");
        let start = Instant::now();
        self.connections[connection].send(&reply);
        let (connection, path, body) = self.next_call();
        let took = start.elapsed();
        assert!(path.ends_with("/response"), "instead of a response: {path} {body}");
        self.connections[connection].send("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n");
        let status = body.split_once("\"statusCode\":").and_then(|(_, rest)| rest.trim_start().get(..3)?.parse().ok());
        (status.unwrap_or_else(|| panic!("no statusCode in {body}")), took)
    }

    /// Serves SNS until the function calls the Runtime API. Returns the connection, the path and the body.
    fn next_call(&mut self) -> (usize, String, String) {
        let deadline = Instant::now() + PATIENCE;
        let mut rounds = 0_u32;
        loop {
            rounds = rounds.wrapping_add(1);
            if rounds.is_multiple_of(10_000) {
                assert!(matches!(self.process.try_wait(), Ok(None)), "the function has ended");
                assert!(Instant::now() < deadline, "the function does nothing");
            }
            if let Ok((stream, _)) = self.stage.runtime_api.accept() {
                self.connections.push(Connection::new(stream, None));
            }
            if let Ok((stream, _)) = self.stage.sns.accept() {
                self.connections.push(Connection::new(stream, Some(&self.stage.tls)));
            }
            for (index, connection) in self.connections.iter_mut().enumerate() {
                let Some((path, body)) = connection.receive() else { continue };
                if !connection.is_sns {
                    return (index, path, body);
                }
                self.published += usize::from(body.contains("Action=Publish&"));
                connection.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{PUBLISHED}", PUBLISHED.len()));
            }
        }
    }

    /// A line of the process's `status`, in KiB. `VmHWM` is the peak memory. `RssAnon` is the current memory without
    /// pages of files.
    pub fn memory(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect("a line of Linux");
        line.split_whitespace().next().and_then(|text| text.parse().ok()).expect("a number")
    }
}

impl Drop for Function<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Connection {
    /// A connection with TLS is one to SNS.
    fn new(stream: TcpStream, tls: Option<&Arc<ServerConfig>>) -> Self {
        stream.set_nonblocking(true).expect("a connection that does not block");
        stream.set_nodelay(true).expect("a connection without delay");
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(stream),
            Some(config) => {
                Box::new(StreamOwned::new(ServerConnection::new(config.clone()).expect("a TLS connection"), stream))
            }
        };
        Self { stream, is_sns: tls.is_some(), inbox: Vec::new() }
    }

    fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).expect("a reply fits into the socket's buffer");
    }

    /// Reads what has arrived. Returns the path and the body of a request once it is complete.
    fn receive(&mut self) -> Option<(String, String)> {
        let mut bytes = [0; 16_384];
        match self.stream.read(&mut bytes) {
            Ok(count @ 1..) => self.inbox.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == ErrorKind::InvalidData => panic!("TLS to SNS failed: {error}"),
            // Nothing has arrived, or the connection was closed.
            _ => return None,
        }
        let end = self.inbox.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&self.inbox[..end]).to_ascii_lowercase();
        assert!(!head.contains("\r\ntransfer-encoding:"), "chunked bodies are not supported");
        let length = head.split_once("\r\ncontent-length:").and_then(|(_, rest)| rest.lines().next());
        let length: usize = length.map_or(0, |text| text.trim().parse().expect("a length"));
        let body = String::from_utf8_lossy(self.inbox.get(end..end + length)?).into_owned();
        self.inbox.drain(..end + length);
        Some((head.split(' ').nth(1)?.to_owned(), body))
    }
}
