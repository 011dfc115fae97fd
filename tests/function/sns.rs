//! A fake SNS on a loopback port. It sends the given replies and records the calls.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The reply to one call.
#[derive(Clone, Copy, Debug)]
pub enum Reply {
    /// Accepts the message. Its id is `message-N`, where N is the number of the call.
    Accept,
    /// A response with this status and body.
    Http(u16, &'static str),
    /// An error with this status, code and message.
    Error(u16, &'static str, &'static str),
    /// A throttling error. Its header asks for this pause in milliseconds.
    RetryAfter(&'static str),
    /// Sends these bytes and keeps the connection open.
    Bytes(&'static [u8]),
    /// Sends these bytes and closes the connection.
    CutShort(&'static [u8]),
    /// Resets the connection after it has read the call.
    Reset,
}

/// One call as received.
#[derive(Clone, Debug)]
pub struct Call {
    /// Request line and headers, in lower case.
    pub head: String,
    pub at: Instant,
    /// The function's end of the connection.
    pub from: SocketAddr,
    /// The fields of the form, in the order in which they are sent.
    pub form: Vec<(String, String)>,
}

impl Call {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

pub struct Sns {
    pub url: String,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Sns {
    /// Sends one of `replies` for each call, and the last one for all further calls.
    pub async fn start(replies: &[Reply]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let calls = Arc::<Mutex<_>>::default();
        let recorded = Arc::clone(&calls);
        let replies: Arc<[Reply]> = replies.into();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(BufReader::new(stream), Arc::clone(&replies), Arc::clone(&recorded)));
            }
        });
        Self { url, calls }
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

async fn serve(mut stream: BufReader<TcpStream>, replies: Arc<[Reply]>, calls: Arc<Mutex<Vec<Call>>>) {
    while let Some(call) = read_call(&mut stream).await {
        let number = {
            let mut calls = calls.lock().unwrap();
            calls.push(call);
            calls.len()
        };
        let response = match replies[number.min(replies.len()) - 1] {
            Reply::Accept => http(200, "", &accepted(number)),
            Reply::Http(status, body) => http(status, "", body),
            Reply::Error(status, code, message) => http(status, "", &error(code, message)),
            Reply::RetryAfter(milliseconds) => {
                let header = format!("x-amz-retry-after: {milliseconds}\r\n");
                http(400, &header, &error("Throttling", "rate exceeded"))
            }
            Reply::Bytes(bytes) => bytes.to_vec(),
            Reply::CutShort(bytes) => return stream.write_all(bytes).await.unwrap(),
            Reply::Reset => return stream.get_ref().set_zero_linger().unwrap(),
        };
        if stream.write_all(&response).await.is_err() {
            return;
        }
    }
}

async fn read_call(stream: &mut BufReader<TcpStream>) -> Option<Call> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    head.make_ascii_lowercase();
    let length = head.split("content-length: ").nth(1)?.split("\r\n").next()?.parse().ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let form = form_urlencoded::parse(&body).into_owned().collect();
    Some(Call { head, at: Instant::now(), from: stream.get_ref().peer_addr().ok()?, form })
}

fn http(status: u16, header: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Status\r\n{header}Content-Length: {}\r\n\r\n{body}", body.len()).into()
}

fn error(code: &str, message: &str) -> String {
    format!("<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>")
}

fn accepted(number: usize) -> String {
    let id = format!("<MessageId>message-{number}</MessageId>");
    format!("<PublishResponse><PublishResult>{id}</PublishResult></PublishResponse>")
}
