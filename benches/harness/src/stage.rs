//! What stands around a function: Lambda's Runtime API on one side and SNS on the other, both on this machine.
//!
//! One thread serves both and never sleeps, so that no time of ours is taken for the function's: it has one processor to
//! itself, and the function the other.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, fs};

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

const CERTIFICATE: &str = "certificate.pem";

const PUBLISHED: &str = "<PublishResponse><PublishResult><MessageId>m</MessageId></PublishResult></PublishResponse>";

pub struct Stage {
    runtime_api: TcpListener,
    sns: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    /// Holds the certificate, and goes with the stage.
    folder: PathBuf,
}

/// A function that runs.
pub struct Function<'a> {
    stage: &'a Stage,
    pub process: Child,
    connections: Vec<Connection>,
    /// How long SNS has taken for its answers.
    held: Duration,
    pub published: usize,
    /// The number of the trace that the next event belongs to, if they do.
    pub trace: Option<u64>,
}

/// One answer of the function.
pub struct Answer {
    pub status: u16,
    /// From the event to the answer, less the time that SNS took.
    pub own: Duration,
}

struct Connection {
    stream: TcpStream,
    tls: Option<ServerConnection>,
    is_sns: bool,
    inbox: Vec<u8>,
}

impl Stage {
    /// SNS over TLS if `over_tls`.
    pub fn new(over_tls: bool) -> Self {
        let listen = || {
            let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
            listener.set_nonblocking(true).expect("a listener that does not block");
            listener
        };
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let folder = env::temp_dir().join(format!("pollo-webhook-stage-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for the certificate");
        fs::write(folder.join(CERTIFICATE), made.cert.pem()).expect("a folder to write to");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let tls = ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a certificate with its key");
        Self { runtime_api: listen(), sns: listen(), tls: over_tls.then(|| tls.into()), folder }
    }

    /// Starts a function that trusts the certificate of the stage's SNS.
    pub fn start(&self, command: &mut Command) -> Function<'_> {
        self.spawn(command, &["SSL_CERT_FILE", "AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"])
    }

    /// Starts a function as it is shipped: no variable names roots, so that it cannot call the stage's SNS over TLS.
    pub fn start_as_shipped(&self, command: &mut Command) -> Function<'_> {
        self.spawn(command, &[])
    }

    /// `names_of_roots` are the variables that name the certificate.
    fn spawn(&self, command: &mut Command, names_of_roots: &[&str]) -> Function<'_> {
        let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let certificate = self.folder.join(CERTIFICATE);
        // Nothing else of this machine's: roots that are named here would be read by the function too.
        let inherited = ["PATH", "HOME", "LANG"].into_iter().filter_map(|name| Some((name, env::var_os(name)?)));
        command
            .env_clear()
            .envs(inherited)
            .env("AWS_LAMBDA_RUNTIME_API", format!("127.0.0.1:{}", port(&self.runtime_api)))
            .env("AWS_ENDPOINT_URL_SNS", format!("{scheme}://127.0.0.1:{}", port(&self.sns)))
            .envs(names_of_roots.iter().map(|name| (name, &certificate)))
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
        Function { stage: self, process, connections: Vec::new(), held: Duration::ZERO, published: 0, trace: None }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Function<'_> {
    /// Waits until the function asks for an event.
    pub fn wait_until_ready(&mut self) -> Ready {
        let (connection, path, _) = self.next_call();
        assert!(path.ends_with("/invocation/next"), "instead of asking for an event: {path}");
        Ready { connection }
    }

    /// Hands over `event` and waits for the answer.
    pub fn invoke(&mut self, ready: Ready, event: &str) -> Answer {
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
        self.held = Duration::ZERO;
        let start = Instant::now();
        self.connections[ready.connection].send(reply.as_bytes());
        let (connection, path, body) = self.next_call();
        let took = start.elapsed();
        assert!(path.ends_with("/response"), "instead of an answer: {path} {body}");
        self.connections[connection].send(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n");
        let status = body.split_once("\"statusCode\":").map(|(_, rest)| rest.trim_start().chars().take(3).collect());
        let status = status.and_then(|digits: String| digits.parse().ok());
        Answer { status: status.unwrap_or_else(|| panic!("no statusCode in {body}")), own: took - self.held }
    }

    /// Serves SNS until the function calls the Runtime API. Gives the connection, the path and the body.
    fn next_call(&mut self) -> (usize, String, String) {
        let deadline = Instant::now() + PATIENCE;
        let mut rounds = 0_u32;
        loop {
            rounds = rounds.wrapping_add(1);
            if rounds.is_multiple_of(10_000) {
                assert!(matches!(self.process.try_wait(), Ok(None)), "the function has ended");
                assert!(Instant::now() < deadline, "the function does nothing");
            }
            for (listener, is_sns) in [(&self.stage.runtime_api, false), (&self.stage.sns, true)] {
                if let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true).expect("a connection that does not block");
                    stream.set_nodelay(true).expect("a connection without delay");
                    let tls = self.stage.tls.as_ref().filter(|_| is_sns);
                    let tls = tls.map(|config| ServerConnection::new(config.clone()).expect("a TLS connection"));
                    self.connections.push(Connection { stream, tls, is_sns, inbox: Vec::new() });
                }
            }
            for (index, connection) in self.connections.iter_mut().enumerate() {
                connection.receive();
                let Some((path, body)) = connection.take_request() else { continue };
                if !connection.is_sns {
                    return (index, path, body);
                }
                let start = Instant::now();
                let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{PUBLISHED}", PUBLISHED.len());
                connection.send(reply.as_bytes());
                self.held += start.elapsed();
                self.published += usize::from(body.contains("Action=Publish&"));
            }
        }
    }

    /// Most memory that the process has had at once, in KiB.
    pub fn peak_memory(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// The memory that the process has of its own now, without what it shares with its file, in KiB.
    pub fn own_memory(&self) -> u64 {
        self.memory("RssAnon:")
    }

    fn memory(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("a running process");
        let line = status.lines().find(|line| line.starts_with(name)).expect("Linux tells it");
        line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number")
    }

    /// The processor time that all its threads have had.
    pub fn processor_time(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id())).expect("a running process");
        let of_task = |task: fs::DirEntry| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        };
        Duration::from_nanos(tasks.flatten().filter_map(of_task).sum())
    }
}

impl Drop for Function<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The function waits for an event.
pub struct Ready {
    connection: usize,
}

impl Connection {
    /// Takes in what has come. What a connection that was closed has sent is dropped with it.
    fn receive(&mut self) {
        let mut bytes = [0; 65_536];
        let Some(tls) = &mut self.tls else {
            if let Ok(count @ 1..) = self.stream.read(&mut bytes) {
                self.inbox.extend_from_slice(&bytes[..count]);
            }
            return;
        };
        if !matches!(tls.read_tls(&mut self.stream), Ok(1..)) {
            return;
        }
        tls.process_new_packets().unwrap_or_else(|error| panic!("TLS to SNS failed: {error}"));
        while let Ok(count @ 1..) = tls.reader().read(&mut bytes) {
            self.inbox.extend_from_slice(&bytes[..count]);
        }
        self.flush();
    }

    fn send(&mut self, bytes: &[u8]) {
        match &mut self.tls {
            Some(tls) => {
                tls.writer().write_all(bytes).expect("room for an answer");
                self.flush();
            }
            None => self.stream.write_all(bytes).expect("an answer fits into the socket's buffer"),
        }
    }

    fn flush(&mut self) {
        let Some(tls) = &mut self.tls else { return };
        while tls.wants_write() {
            match tls.write_tls(&mut self.stream) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }

    /// The path and the body of a request, once it is there as a whole.
    fn take_request(&mut self) -> Option<(String, String)> {
        let end = self.inbox.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&self.inbox[..end]).into_owned();
        let header = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
        };
        let mut body = Vec::new();
        let mut rest = &self.inbox[end..];
        if header("transfer-encoding").is_some() {
            loop {
                let line = rest.windows(2).position(|window| window == b"\r\n")?;
                let size = usize::from_str_radix(str::from_utf8(&rest[..line]).ok()?, 16).ok()?;
                let chunk = rest.get(line + 2..line + 2 + size)?;
                rest = rest.get(line + 2 + size + 2..)?;
                if size == 0 {
                    break;
                }
                body.extend_from_slice(chunk);
            }
        } else {
            let length = header("content-length").map_or(0, |text| text.parse().expect("a length"));
            body.extend_from_slice(rest.get(..length)?);
            rest = &rest[length..];
        }
        let path = head.split(' ').nth(1)?.to_owned();
        self.inbox = rest.to_vec();
        Some((path, String::from_utf8_lossy(&body).into_owned()))
    }
}
