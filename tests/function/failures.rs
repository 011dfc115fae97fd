//! Failures of SNS, lasting and single. The response comes within 8 s, and is 200 only with a message id of SNS.

use std::time::{Duration, SystemTime};

use serde_json::json;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use crate::function::{Function, Response};
use crate::pollo::{SUCCEED, event, now, sha256};
use crate::sns::Reply;

const WORST: Duration = Duration::from_secs(8);

const INTERNAL: Reply = Reply::Error(500, "InternalError", "internal");
const NO_MESSAGE_ID: Reply = Reply::Http(200, "<PublishResponse><PublishResult></PublishResult></PublishResponse>");
const EMPTY_MESSAGE_ID: Reply =
    Reply::Http(200, "<PublishResponse><PublishResult><MessageId></MessageId></PublishResult></PublishResponse>");
const HALF_A_RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n<PublishResponse><PublishResult><MessageId>m";

/// Each failure, its code and a part of its detail in the log, and the number of attempts. Permanent errors get one.
const FAILURES: &[(Reply, &str, &str, usize)] = &[
    (INTERNAL, "InternalError", "internal", 3),
    (Reply::Http(503, ""), "NoErrorCode", "HTTP status 503", 3),
    (Reply::Error(400, "ThrottlingException", "rate exceeded"), "ThrottlingException", "rate exceeded", 3),
    (Reply::Http(429, ""), "NoErrorCode", "HTTP status 429", 3),
    (Reply::Reset, "DispatchFailure", "(127.0.0.1): io error", 3),
    (Reply::CutShort(HALF_A_RESPONSE), "UnreadableResponse", "response error", 3),
    (Reply::Bytes(HALF_A_RESPONSE), "Timeout", "timed out (127.0.0.1)", 3),
    (Reply::Bytes(b""), "Timeout", "timed out (127.0.0.1)", 3),
    (Reply::Error(403, "AuthorizationError", "not authorized"), "AuthorizationError", "not authorized", 1),
    (Reply::Error(404, "NotFound", "Topic does not exist"), "NotFound", "Topic does not exist", 1),
    (Reply::Http(200, "<html>hello"), "UnreadableResponse", "error parsing XML", 1),
    (Reply::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n"), "DispatchFailure", "dispatch failure (127.0.0.1)", 1),
    (NO_MESSAGE_ID, "NoMessageId", "SNS responded without a message id", 1),
    (EMPTY_MESSAGE_ID, "NoMessageId", "SNS responded without a message id", 1),
];

/// The response asks for a retry. The log line has everything that is needed to publish the outcome later. Returns the
/// time that is in the line.
fn is_not_published(mut response: Response, code: &str, part_of_detail: &str) -> Duration {
    assert_eq!(response.status, 503, "{}", response.log);
    assert_eq!(response.body, json!({ "error": "the outcome could not be published, send it again" }));
    assert_eq!(response.headers["retry-after"], "30");
    assert!(response.took < WORST, "{:?}", response.took);
    let line = response.log.as_object_mut().unwrap();
    let detail = line.remove("detail").unwrap();
    assert!(detail.as_str().unwrap().contains(part_of_detail), "{detail}");
    line.remove("requestId");
    let took = line.remove("snsMilliseconds").unwrap().as_u64().unwrap();
    assert_eq!(
        response.log,
        json!({
            "level": "ERROR", "result": "not_published", "httpStatus": 503, "webhookId": "msg_1",
            "taskId": "cm9ap1d4e0001", "status": "succeed", "code": code, "webhookTimestamp": "1767225600",
            "body": SUCCEED, "bodySha256": sha256(SUCCEED.as_bytes()),
        })
    );
    Duration::from_millis(took)
}

#[tokio::test]
async fn a_lasting_failure_leads_to_503_after_all_attempts_and_the_next_webhook_is_published() {
    let all = FAILURES.iter().map(|&(failure, code, detail, attempts)| async move {
        let replies = [vec![failure; attempts], vec![Reply::Accept]].concat();
        let function = Function::start(&replies).await;
        let took = is_not_published(function.receive(&event(SUCCEED)).await, code, detail);
        // The logged time includes all attempts.
        assert!(took >= Duration::from_secs(6) || code != "Timeout", "{took:?} are logged");
        assert_eq!(function.sns.calls().len(), attempts, "{code}: {detail}");
        let next = function.receive(&event(SUCCEED)).await;
        let message_id = format!("message-{}", attempts + 1);
        assert_eq!((next.status, next.body), (200, json!({ "messageId": message_id })), "{}", next.log);
    });
    // In parallel, because some of them take seconds.
    all.collect::<JoinSet<()>>().join_all().await;
}

/// The codes are from SNS, from KMS and from AWS in general. A quota is per second, so the next attempt is in another.
#[tokio::test]
async fn retries_every_throttling_code_after_a_second() {
    let codes = "Throttled ThrottledException Throttling ThrottlingException KMSThrottling KMSThrottlingException \
                 RequestThrottled RequestThrottledException RequestLimitExceeded LimitExceededException SlowDown \
                 TooManyRequestsException";
    let replies = codes.split(' ').map(|code| Reply::Error(400, code, "rate exceeded"));
    let all = replies.chain([Reply::Http(429, "")]).map(|throttled| async move {
        let function = Function::start(&[throttled, throttled, Reply::Accept]).await;
        assert_eq!(function.receive(&event(SUCCEED)).await.status, 200, "{throttled:?}");
        assert!(pauses(&function).iter().all(|pause| *pause >= Duration::from_secs(1)), "{throttled:?}");
    });
    all.collect::<JoinSet<()>>().join_all().await;
}

/// SNS asks in milliseconds. More than 3 s would not leave time for a third attempt.
#[tokio::test]
async fn waits_as_long_as_sns_asks_for_up_to_3_seconds() {
    let all = [("1700", 1_700), ("1", 1_000), ("60000", 3_000), ("soon", 1_000)];
    let all = all.map(|(asked, waited)| async move {
        let function = Function::start(&[Reply::RetryAfter(asked)]).await;
        is_not_published(function.receive(&event(SUCCEED)).await, "Throttling", "rate exceeded");
        let pauses = pauses(&function);
        assert_eq!(pauses.len(), 2, "{asked}");
        assert!(pauses.iter().all(|pause| *pause >= Duration::from_millis(waited)), "{asked}: {pauses:?}");
    });
    all.into_iter().collect::<JoinSet<()>>().join_all().await;
}

/// The times between the calls of SNS.
fn pauses(function: &Function) -> Vec<Duration> {
    function.sns.calls().windows(2).map(|calls| calls[1].at - calls[0].at).collect()
}

/// Lambda kills a function at its deadline, and its log would then have nothing of the webhook.
#[tokio::test]
async fn responds_before_the_deadline_of_the_invocation() {
    let all = [3_000, 1_000, 400, 0].map(|milliseconds| async move {
        let function = Function::start(&[Reply::Bytes(b"")]).await;
        let left = Duration::from_millis(milliseconds);
        let response = function.receive_by(Some(now() + left), &event(SUCCEED)).await;
        assert_eq!(response.log["requestId"], "request-1");
        let took = is_not_published(response, "Timeout", "(127.0.0.1)");
        let most = left.saturating_sub(Duration::from_millis(500));
        // Half of the reserve is for a busy machine.
        assert!((most..most + Duration::from_millis(250)).contains(&took), "gave up after {took:?} of {left:?}");
    });
    all.into_iter().collect::<JoinSet<()>>().join_all().await;
}

/// The emulator of cargo-lambda sends a deadline in 1970. All other tests send none.
#[tokio::test]
async fn ignores_a_deadline_that_has_passed() {
    let function = Function::start(&[INTERNAL, INTERNAL, Reply::Accept]).await;
    assert_eq!(function.receive_by(Some(SystemTime::UNIX_EPOCH), &event(SUCCEED)).await.status, 200);
}

#[tokio::test]
async fn an_endpoint_that_refuses_connections_leads_to_503() {
    // The socket is bound but does not listen. This reserves the port, and connections are refused.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://localhost:{}", socket.local_addr().unwrap().port());
    let function = Function::with(&[], &[("AWS_ENDPOINT_URL_SNS", &url)]).await;
    let response = function.receive(&event(SUCCEED)).await;
    assert!(response.log["detail"].as_str().unwrap().contains("Connection refused"), "{}", response.log);
    is_not_published(response, "DispatchFailure", "dispatch failure (localhost): ");
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
