//! SNS failing, each way for ever and once. The answer is out within 8 s, and it is never 200 without a message id.

use std::time::Duration;

use serde_json::json;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use crate::function::{Answer, Function};
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
const REFUSED: Reply = Reply::Http(403, error!("AuthorizationError", "not authorized to perform SNS:Publish"));
const NO_TOPIC: Reply = Reply::Http(404, error!("NotFound", "Topic does not exist"));
const NO_MESSAGE_ID: Reply = Reply::Http(200, "<PublishResponse><PublishResult></PublishResult></PublishResponse>");
const EMPTY_MESSAGE_ID: Reply =
    Reply::Http(200, "<PublishResponse><PublishResult><MessageId></MessageId></PublishResult></PublishResponse>");
const HALF_AN_ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n<PublishResponse><PublishResult><MessageId>m";

/// Each way of failing, its code and a part of its detail in the log, and the attempts that the outcome is given. One
/// attempt is enough where SNS means it.
pub const FAILURES: &[(Reply, &str, &str, usize)] = &[
    (INTERNAL, "InternalError", "internal", 3),
    (Reply::Http(503, ""), "NoErrorCode", "HTTP status 503", 3),
    (Reply::Http(400, error!("ThrottlingException", "rate exceeded")), "ThrottlingException", "rate exceeded", 3),
    (Reply::Http(429, ""), "NoErrorCode", "HTTP status 429", 3),
    (Reply::Reset, "DispatchFailure", "io error", 3),
    (Reply::CutShort(HALF_AN_ANSWER), "UnreadableResponse", "response error", 3),
    (Reply::Bytes(HALF_AN_ANSWER), "Timeout", "timed out", 3),
    (Reply::Bytes(b""), "Timeout", "timed out", 3),
    (REFUSED, "AuthorizationError", "not authorized to perform SNS:Publish", 1),
    (NO_TOPIC, "NotFound", "Topic does not exist", 1),
    (Reply::Http(200, "<html>hello"), "UnreadableResponse", "error parsing XML", 1),
    (Reply::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n"), "DispatchFailure", "dispatch failure", 1),
    (NO_MESSAGE_ID, "NoMessageId", "SNS responded without a message id", 1),
    (EMPTY_MESSAGE_ID, "NoMessageId", "SNS responded without a message id", 1),
];

/// The sender is asked to come again, and the line has all that is needed to publish the outcome later.
fn is_not_published(mut answer: Answer, code: &str, part_of_detail: &str) {
    assert_eq!(answer.status, 503, "{}", answer.log);
    assert_eq!(answer.body, json!({ "error": "the outcome could not be published, send it again" }));
    assert_eq!(answer.headers["retry-after"], "30");
    assert!(answer.took < WORST, "{:?}", answer.took);
    let line = answer.log.as_object_mut().unwrap();
    let detail = line.remove("detail").unwrap();
    assert!(detail.as_str().unwrap().contains(part_of_detail), "{detail}");
    let took = line.remove("snsMilliseconds").unwrap().as_u64().unwrap();
    // All attempts are waited for, and the log says for how long.
    assert!(took >= 6_000 || code != "Timeout", "{took} ms are logged");
    assert_eq!(
        answer.log,
        json!({
            "level": "ERROR", "result": "not_published", "httpStatus": 503, "webhookId": "msg_1",
            "taskId": "cm9ap1d4e0001", "status": "succeed", "code": code, "webhookTimestamp": "1767225600",
            "body": SUCCEED,
        })
    );
}

#[tokio::test]
async fn a_failure_that_lasts_is_503_after_its_attempts() {
    let all = FAILURES.iter().map(|&(failure, code, detail, attempts)| async move {
        let function = Function::start(&[failure]).await;
        is_not_published(function.receive(&event(SUCCEED)).await, code, detail);
        assert_eq!(function.sns.calls().len(), attempts, "{code}: {detail}");
    });
    // At the same time, because some are waited for.
    all.collect::<JoinSet<()>>().join_all().await;
}

#[tokio::test]
async fn a_failure_that_passes_is_200_from_the_next_call() {
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
    let answer = function.receive(&event(SUCCEED)).await;
    assert_eq!((answer.status, answer.body), (200, json!({ "messageId": "message-2" })), "{}", answer.log);
    assert!(answer.took < WORST, "{:?}", answer.took);
    assert_eq!(function.sns.calls().len(), 2);
}

/// Codes of SNS, of KMS behind it, and of AWS in general.
#[tokio::test]
async fn throttling_by_any_name_is_tried_again() {
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
async fn nobody_at_the_endpoint_is_503() {
    // A socket that is bound and does not listen: nobody else gets its port, and a connection is refused.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let function = Function::with(&[], &[("AWS_ENDPOINT_URL_SNS", &url)]).await;
    is_not_published(function.receive(&event(SUCCEED)).await, "DispatchFailure", "Connection refused");
}

/// By default, the SDK's retries have a quota over all calls, which an outage uses up and time does not fill up again.
#[tokio::test]
async fn each_webhook_has_three_attempts_however_long_sns_has_failed() {
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
async fn a_long_error_text_is_logged_in_part() {
    let long = "\u{e9}".repeat(100_000);
    let error = error!("CODE", "MESSAGE").replace("CODE", &long).replace("MESSAGE", &long).leak();
    let function = Function::start(&[Reply::Http(403, error)]).await;
    let log = function.receive(&event(SUCCEED)).await.log;
    assert_eq!((&log["code"], &log["detail"]), (&long[..2 * 128].into(), &long[..2 * 1_000].into()));
}
