//! SNS failing, each way for ever and once. The answer is out within 8 s, and it is never 200 without a message id.

use std::time::Duration;

use tokio::net::TcpSocket;

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
const UNAVAILABLE: Reply = Reply::Http(503, "");
const THROTTLING: Reply = Reply::Http(400, error!("ThrottlingException", "rate exceeded"));
const TOO_MANY_REQUESTS: Reply = Reply::Http(429, "");
const REFUSED: Reply = Reply::Http(403, error!("AuthorizationError", "not authorized to perform SNS:Publish"));
const NO_TOPIC: Reply = Reply::Http(404, error!("NotFound", "Topic does not exist"));
const NOT_XML: Reply = Reply::Http(200, "<html>hello");
const NOT_HTTP: Reply = Reply::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n");
const NO_MESSAGE_ID: Reply = Reply::Http(200, "<PublishResponse><PublishResult></PublishResult></PublishResponse>");
const EMPTY_MESSAGE_ID: Reply =
    Reply::Http(200, "<PublishResponse><PublishResult><MessageId></MessageId></PublishResult></PublishResponse>");

/// Each way of failing.
pub const FAILURES: &[&[Reply]] = &[
    &[INTERNAL],
    &[UNAVAILABLE],
    &[THROTTLING],
    &[TOO_MANY_REQUESTS],
    &[REFUSED],
    &[NO_TOPIC],
    &[NOT_XML],
    &[NOT_HTTP],
    &[NO_MESSAGE_ID],
    &[EMPTY_MESSAGE_ID],
    &[Reply::Reset],
    &[Reply::CutShort],
    &[Reply::Stall],
    &[Reply::Hang],
];

fn is_not_published(answer: &Answer, code: &str) {
    assert_eq!((answer.status, &answer.log["result"]), (503, &"not_published".into()));
    assert_eq!(answer.headers["retry-after"], "30");
    assert_eq!((&answer.log["level"], &answer.log["code"]), (&"ERROR".into(), &code.into()), "{}", answer.log);
    assert!(answer.log["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
    // Enough to publish the outcome later.
    assert_eq!(
        (&answer.log["taskId"], &answer.log["status"], &answer.log["body"]),
        (&"cm9ap1d4e0001".into(), &"succeed".into(), &SUCCEED.into())
    );
    assert!(answer.took < WORST, "{:?}", answer.took);
}

/// A failure that does not pass: 503, after this many calls.
async fn for_ever(replies: &'static [Reply], code: &str, calls: usize) -> Answer {
    let function = Function::start(replies).await;
    let answer = function.receive(&event(SUCCEED)).await;
    is_not_published(&answer, code);
    assert_eq!(function.sns.calls().len(), calls);
    answer
}

/// A failure that passes while the webhook waits: 200, from the second call.
async fn passing(replies: &'static [Reply]) {
    let function = Function::start(replies).await;
    let answer = function.receive(&event(SUCCEED)).await;
    assert_eq!((answer.status, &answer.body["messageId"]), (200, &"message-2".into()));
    assert!(answer.took < WORST, "{:?}", answer.took);
    assert_eq!(function.sns.calls().len(), 2);
}

/// A failure that SNS means: 503 without another try, and 200 when Pollo comes again after it was mended.
async fn mended(replies: &'static [Reply], code: &str) {
    let function = Function::start(replies).await;
    is_not_published(&function.receive(&event(SUCCEED)).await, code);
    let answer = function.receive(&event(SUCCEED)).await;
    assert_eq!((answer.status, &answer.body["messageId"]), (200, &"message-2".into()));
}

#[tokio::test]
async fn an_internal_error() {
    for_ever(&[INTERNAL], "InternalError", 3).await;
    passing(&[INTERNAL, Reply::Accept]).await;
}

#[tokio::test]
async fn unavailable() {
    let answer = for_ever(&[UNAVAILABLE], "NoErrorCode", 3).await;
    assert!(answer.log["detail"].as_str().unwrap().contains("HTTP status 503"), "{}", answer.log);
    passing(&[UNAVAILABLE, Reply::Accept]).await;
}

#[tokio::test]
async fn throttling() {
    for_ever(&[THROTTLING], "ThrottlingException", 3).await;
    for_ever(&[TOO_MANY_REQUESTS], "NoErrorCode", 3).await;
    passing(&[TOO_MANY_REQUESTS, Reply::Accept]).await;
}

/// Codes of SNS, of KMS behind it, and of AWS in general.
#[tokio::test]
async fn throttling_by_any_name() {
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
        passing(vec![Reply::Http(400, throttled), Reply::Accept].leak()).await;
    }
}

#[tokio::test]
async fn a_reset_connection() {
    for_ever(&[Reply::Reset], "DispatchFailure", 3).await;
    passing(&[Reply::Reset, Reply::Accept]).await;
}

#[tokio::test]
async fn an_answer_cut_short() {
    for_ever(&[Reply::CutShort], "UnreadableAnswer", 3).await;
    passing(&[Reply::CutShort, Reply::Accept]).await;
}

#[tokio::test]
async fn a_hanging_call() {
    let answer = for_ever(&[Reply::Hang], "Timeout", 3).await;
    // It is waited for, and the log says for how long.
    assert!(answer.log["snsMilliseconds"].as_u64().unwrap() >= 6_000, "{}", answer.log);
}

#[tokio::test]
async fn an_answer_that_stops_in_its_middle() {
    for_ever(&[Reply::Stall], "Timeout", 3).await;
}

#[tokio::test]
async fn an_answer_that_stops_in_its_middle_once() {
    passing(&[Reply::Stall, Reply::Accept]).await;
}

#[tokio::test]
async fn a_call_that_hangs_once() {
    passing(&[Reply::Hang, Reply::Accept]).await;
}

#[tokio::test]
async fn a_refused_permission() {
    let answer = for_ever(&[REFUSED], "AuthorizationError", 1).await;
    assert_eq!(answer.log["detail"], "not authorized to perform SNS:Publish");
    mended(&[REFUSED, Reply::Accept], "AuthorizationError").await;
}

#[tokio::test]
async fn a_missing_topic() {
    for_ever(&[NO_TOPIC], "NotFound", 1).await;
    mended(&[NO_TOPIC, Reply::Accept], "NotFound").await;
}

#[tokio::test]
async fn an_answer_that_is_not_sns() {
    for_ever(&[NOT_XML], "UnreadableAnswer", 1).await;
    mended(&[NOT_XML, Reply::Accept], "UnreadableAnswer").await;
    for_ever(&[NOT_HTTP], "DispatchFailure", 1).await;
    mended(&[NOT_HTTP, Reply::Accept], "DispatchFailure").await;
}

#[tokio::test]
async fn an_answer_without_a_message_id() {
    for reply in [&[NO_MESSAGE_ID], &[EMPTY_MESSAGE_ID]] {
        let answer = for_ever(reply, "NoMessageId", 1).await;
        assert_eq!(answer.log["detail"], "SNS responded without a message id");
    }
    mended(&[NO_MESSAGE_ID, Reply::Accept], "NoMessageId").await;
}

#[tokio::test]
async fn nobody_at_the_endpoint() {
    // A socket that is bound and does not listen: nobody else gets its port, and a connection is refused.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let function = Function::without_sns(&format!("http://{}", socket.local_addr().unwrap())).await;
    let answer = function.receive(&event(SUCCEED)).await;
    is_not_published(&answer, "DispatchFailure");
    assert!(answer.log["detail"].as_str().unwrap().contains("Connection refused"), "{}", answer.log);
}

/// By default, the SDK's retries have a quota over all calls, which an outage uses up and time does not fill up again.
#[tokio::test]
async fn each_webhook_has_three_attempts_however_long_sns_has_failed() {
    const OUTAGE: usize = 40;
    let mut replies = vec![INTERNAL; 3 * OUTAGE];
    replies.extend([Reply::Reset, Reply::Reset, Reply::Accept].repeat(3));
    let function = Function::start(replies.leak()).await;
    for number in 1..=OUTAGE {
        is_not_published(&function.receive(&event(SUCCEED)).await, "InternalError");
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
    let function = Function::start(vec![Reply::Http(403, error)].leak()).await;
    let log = function.receive(&event(SUCCEED)).await.log;
    assert_eq!((&log["code"], &log["detail"]), (&long[..2 * 128].into(), &long[..2 * 1_000].into()));
}
