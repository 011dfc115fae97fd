//! Failures of SNS, lasting and single. The response comes within 8 s, and is 200 only with a message id of SNS.

use std::time::Duration;

use serde_json::json;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use crate::function::{Function, Response};
use crate::pollo::{SUCCEED, event};
use crate::sns::Reply;

const WORST: Duration = Duration::from_secs(8);

macro_rules! error {
    ($code:literal, $message:literal) => {
        concat!(
            "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error><Type>Sender</Type><Code>",
            $code,
            "</Code><Message>",
            $message,
            "</Message></Error><RequestId>request-1</RequestId></ErrorResponse>"
        )
    };
}

const INTERNAL: Reply = Reply::Http(500, error!("InternalError", "internal"));
const REJECTED: Reply = Reply::Http(403, error!("AuthorizationError", "not authorized to perform SNS:Publish"));
const NO_TOPIC: Reply = Reply::Http(404, error!("NotFound", "Topic does not exist"));
const NO_MESSAGE_ID: Reply = Reply::Http(200, "<PublishResponse><PublishResult></PublishResult></PublishResponse>");
const EMPTY_MESSAGE_ID: Reply =
    Reply::Http(200, "<PublishResponse><PublishResult><MessageId></MessageId></PublishResult></PublishResponse>");
const HALF_A_RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n<PublishResponse><PublishResult><MessageId>m";

/// Each failure, its code and a part of its detail in the log, and the number of attempts. Permanent errors get one.
pub const FAILURES: &[(Reply, &str, &str, usize)] = &[
    (INTERNAL, "InternalError", "internal", 3),
    (Reply::Http(503, ""), "NoErrorCode", "HTTP status 503", 3),
    (Reply::Http(400, error!("ThrottlingException", "rate exceeded")), "ThrottlingException", "rate exceeded", 3),
    (Reply::Http(429, ""), "NoErrorCode", "HTTP status 429", 3),
    (Reply::Reset, "DispatchFailure", "io error", 3),
    (Reply::CutShort(HALF_A_RESPONSE), "UnreadableResponse", "response error", 3),
    (Reply::Bytes(HALF_A_RESPONSE), "Timeout", "timed out", 3),
    (Reply::Bytes(b""), "Timeout", "timed out", 3),
    (REJECTED, "AuthorizationError", "not authorized to perform SNS:Publish", 1),
    (NO_TOPIC, "NotFound", "Topic does not exist", 1),
    (Reply::Http(200, "<html>hello"), "UnreadableResponse", "error parsing XML", 1),
    (Reply::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n"), "DispatchFailure", "dispatch failure", 1),
    (NO_MESSAGE_ID, "NoMessageId", "SNS responded without a message id", 1),
    (EMPTY_MESSAGE_ID, "NoMessageId", "SNS responded without a message id", 1),
];

/// The response asks for a retry. The log line has everything that is needed to publish the outcome later.
fn is_not_published(mut response: Response, code: &str, part_of_detail: &str) {
    assert_eq!(response.status, 503, "{}", response.log);
    assert_eq!(response.body, json!({ "error": "the outcome could not be published, send it again" }));
    assert_eq!(response.headers["retry-after"], "30");
    assert!(response.took < WORST, "{:?}", response.took);
    let line = response.log.as_object_mut().unwrap();
    let detail = line.remove("detail").unwrap();
    assert!(detail.as_str().unwrap().contains(part_of_detail), "{detail}");
    let took = line.remove("snsMilliseconds").unwrap().as_u64().unwrap();
    // The logged time includes all attempts.
    assert!(took >= 6_000 || code != "Timeout", "{took} ms are logged");
    assert_eq!(
        response.log,
        json!({
            "level": "ERROR", "result": "not_published", "httpStatus": 503, "webhookId": "msg_1",
            "taskId": "cm9ap1d4e0001", "status": "succeed", "code": code, "webhookTimestamp": "1767225600",
            "body": SUCCEED,
        })
    );
}

#[tokio::test]
async fn a_lasting_failure_leads_to_503_after_all_attempts() {
    let all = FAILURES.iter().map(|&(failure, code, detail, attempts)| async move {
        let function = Function::start(&[failure]).await;
        is_not_published(function.receive(&event(SUCCEED)).await, code, detail);
        assert_eq!(function.sns.calls().len(), attempts, "{code}: {detail}");
    });
    // In parallel, because some of them take seconds.
    all.collect::<JoinSet<()>>().join_all().await;
}

#[tokio::test]
async fn the_call_after_a_single_failure_succeeds() {
    let all = FAILURES.iter().map(|&(failure, code, detail, attempts)| async move {
        let function = Function::start(&[failure, Reply::Accept]).await;
        if attempts == 1 {
            is_not_published(function.receive(&event(SUCCEED)).await, code, detail);
        }
        is_published_by_the_second_call(&function).await;
    });
    all.collect::<JoinSet<()>>().join_all().await;
}

async fn is_published_by_the_second_call(function: &Function) {
    let response = function.receive(&event(SUCCEED)).await;
    assert_eq!((response.status, response.body), (200, json!({ "messageId": "message-2" })), "{}", response.log);
    assert!(response.took < WORST, "{:?}", response.took);
    assert_eq!(function.sns.calls().len(), 2);
}

/// The codes are from SNS, from KMS and from AWS in general.
#[tokio::test]
async fn retries_every_throttling_code() {
    for code in [
        "Throttled",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "KMSThrottling",
        "KMSThrottlingException",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestLimitExceeded",
        "LimitExceededException",
        "SlowDown",
        "TooManyRequestsException",
    ] {
        let throttled = error!("CODE", "rate exceeded").replace("CODE", code).leak();
        is_published_by_the_second_call(&Function::start(&[Reply::Http(400, throttled), Reply::Accept]).await).await;
    }
}

#[tokio::test]
async fn an_endpoint_that_refuses_connections_leads_to_503() {
    // The socket is bound but does not listen. This reserves the port, and connections are refused.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let function = Function::with(&[], &[("AWS_ENDPOINT_URL_SNS", &url)]).await;
    is_not_published(function.receive(&event(SUCCEED)).await, "DispatchFailure", "Connection refused");
}

/// By default, all calls share the SDK's retry quota. An outage exhausts the quota, and it does not refill with time.
#[tokio::test]
async fn each_webhook_gets_three_attempts_even_after_a_long_outage() {
    const OUTAGE: usize = 40;
    let mut replies = vec![INTERNAL; 3 * OUTAGE];
    replies.extend([Reply::Reset, Reply::Reset, Reply::Accept].repeat(3));
    let function = Function::start(&replies).await;
    for number in 1..=OUTAGE {
        assert_eq!(function.receive(&event(SUCCEED)).await.status, 503);
        assert_eq!(function.sns.calls().len(), 3 * number);
    }
    for _ in 0..3 {
        assert_eq!(function.receive(&event(SUCCEED)).await.status, 200);
    }
}

#[tokio::test]
async fn truncates_a_long_error_in_the_log() {
    let long = "\u{e9}".repeat(100_000);
    let error = error!("CODE", "MESSAGE").replace("CODE", &long).replace("MESSAGE", &long).leak();
    let function = Function::start(&[Reply::Http(403, error)]).await;
    let log = function.receive(&event(SUCCEED)).await.log;
    assert_eq!((&log["code"], &log["detail"]), (&long[..2 * 128].into(), &long[..2 * 1_000].into()));
}
