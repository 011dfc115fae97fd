//! A fake SNS on a loopback port. It sends the given replies and records the calls.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
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
    connections: Arc<AtomicUsize>,
}

impl Sns {
    /// Sends one of `replies` for each call, and the last one for all further calls.
    pub async fn start(replies: &[Reply]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sns = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            calls: Arc::default(),
            connections: Arc::default(),
        };
        let (calls, connections) = (Arc::clone(&sns.calls), Arc::clone(&sns.connections));
        let replies: Arc<[Reply]> = replies.into();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, Arc::clone(&replies), Arc::clone(&calls)));
            }
        });
        sns
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, replies: Arc<[Reply]>, calls: Arc<Mutex<Vec<Call>>>) {
    while let Some(call) = read_call(&mut stream).await {
        let number = {
            let mut calls = calls.lock().unwrap();
            calls.push(call);
            calls.len()
        };
        let response = match replies[number.min(replies.len()) - 1] {
            Reply::Accept => http(200, "", &accepted(&format!("message-{number}"))),
            Reply::Http(status, body) => http(status, "", body),
            Reply::Error(status, code, message) => http(status, "", &error(code, message)),
            Reply::RetryAfter(milliseconds) => {
                let header = format!("x-amz-retry-after: {milliseconds}\r\n");
                http(400, &header, &error("Throttling", "rate exceeded"))
            }
            Reply::Bytes(bytes) => bytes.to_vec(),
            Reply::CutShort(bytes) => return stream.write_all(bytes).await.unwrap(),
            Reply::Reset => return stream.set_zero_linger().unwrap(),
        };
        if stream.write_all(&response).await.is_err() {
            return;
        }
    }
}

async fn read_call(stream: &mut TcpStream) -> Option<Call> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_ascii_lowercase()).unwrap();
    let length: usize = head.split("content-length: ").nth(1)?.split("\r\n").next()?.parse().ok()?;
    while bytes.len() < head_end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let form = form_urlencoded::parse(&bytes[head_end..]).into_owned().collect();
    Some(Call { head, at: Instant::now(), form })
}

fn http(status: u16, header: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Status\r\n{header}Content-Length: {}\r\n\r\n{body}", body.len()).into()
}

fn error(code: &str, message: &str) -> String {
    format!(
        "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error><Type>Sender</Type><Code>{code}</Code>\
         <Message>{message}</Message></Error><RequestId>request-1</RequestId></ErrorResponse>"
    )
}

fn accepted(message_id: &str) -> String {
    format!(
        "<PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishResult><MessageId>{message_id}\
         </MessageId></PublishResult><ResponseMetadata><RequestId>request-1</RequestId></ResponseMetadata></PublishResponse>"
    )
}
