//! What goes over the wire to SNS.

use crate::function::Function;
use crate::pollo::{FAILED, SUCCEED, event};
use crate::sns::{Call, Reply};

const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:pollo-outcomes";
const FIFO_TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:pollo-outcomes.fifo";
const HASH_OF_A_B: &str = "yGh6CKpdbtIEQyj6aml6uOltw0KR6MIDSujDjm_MbWU";

type Fields<'a> = Vec<(&'a str, &'a str)>;

/// Name, type and value of each.
type Attributes<'a> = Vec<(&'a str, &'a str, &'a str)>;

/// The fields of a call but for its attributes, and the attributes; both sorted.
fn fields_and_attributes(call: &Call) -> (Fields<'_>, Attributes<'_>) {
    let mut fields: Fields = call
        .form
        .iter()
        .filter(|(name, _)| !name.starts_with("MessageAttributes."))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    fields.sort_unstable();
    let mut attributes: Attributes = (1..)
        .map_while(|number| {
            let part = |name| call.field(&format!("MessageAttributes.entry.{number}.{name}"));
            Some((part("Name")?, part("Value.DataType")?, part("Value.StringValue")?))
        })
        .collect();
    attributes.sort_unstable();
    assert_eq!(fields.len() + 3 * attributes.len(), call.form.len());
    (fields, attributes)
}

#[tokio::test]
async fn one_publish_with_the_verified_body_and_four_attributes() {
    let function = Function::with(&[Reply::Accept], &[("SNS_TOPIC_ARN", TOPIC)]).await;
    let body = " {\"taskId\":\"t&=+%\u{e9}\",\r\n\"status\":\"failed\",\"credit\":1.0,\"url\":\"https:\\/\\/a\"} ";
    assert_eq!(function.receive(&event(body)).await.status, 200);
    let calls = function.sns.calls();
    let [call] = &calls[..] else { panic!("one call, not {}", calls.len()) };
    let (fields, attributes) = fields_and_attributes(call);
    assert_eq!(fields, [("Action", "Publish"), ("Message", body), ("TopicArn", TOPIC), ("Version", "2010-03-31")]);
    assert_eq!(
        attributes,
        [
            ("status", "String", "failed"),
            ("taskId", "String", "t&=+%\u{e9}"),
            ("webhookId", "String", "msg_1"),
            ("webhookTimestamp", "String", "1767225600"),
        ]
    );
    assert!(call.head.starts_with("post / http/1.1\r\n"), "{}", call.head);
    assert!(call.head.contains("content-type: application/x-www-form-urlencoded\r\n"), "{}", call.head);
    assert!(call.head.contains("/us-east-1/sns/aws4_request"), "{}", call.head);
}

#[tokio::test]
async fn a_fifo_topic_gets_a_group_and_a_deduplication_id() {
    let function = Function::with(&[Reply::Accept], &[("SNS_TOPIC_ARN", FIFO_TOPIC)]).await;
    for (body, deduplication_id) in
        [(SUCCEED, "cm9ap1d4e0001.succeed"), (SUCCEED, "cm9ap1d4e0001.succeed"), (FAILED, "cm9ap1d4e0001.failed")]
    {
        assert_eq!(function.receive(&event(body)).await.status, 200);
        let calls = function.sns.calls();
        let (fields, attributes) = fields_and_attributes(calls.last().unwrap());
        assert_eq!(
            fields,
            [
                ("Action", "Publish"),
                ("Message", body),
                ("MessageDeduplicationId", deduplication_id),
                ("MessageGroupId", "cm9ap1d4e0001"),
                ("TopicArn", FIFO_TOPIC),
                ("Version", "2010-03-31"),
            ]
        );
        assert_eq!(attributes.len(), 4);
    }
}

#[tokio::test]
async fn a_task_id_that_sns_would_not_take_as_a_group_is_hashed() {
    let function = Function::with(&[Reply::Accept], &[("SNS_TOPIC_ARN", FIFO_TOPIC)]).await;
    let long = "t".repeat(125);
    for (task_id, group) in [("a b", HASH_OF_A_B), (&long, &long)] {
        let body = format!(r#"{{"taskId":"{task_id}","status":"failed"}}"#);
        assert_eq!(function.receive(&event(&body)).await.status, 200);
        let calls = function.sns.calls();
        let call = calls.last().unwrap();
        assert_eq!(call.field("MessageGroupId"), Some(group));
        // 125 characters and a status are too many for SNS.
        let deduplication_id = call.field("MessageDeduplicationId").unwrap();
        assert_eq!(deduplication_id.len(), 43, "{deduplication_id}");
        assert_ne!(deduplication_id, group);
    }
}

#[tokio::test]
async fn the_call_is_signed_for_the_region_of_the_topic() {
    let topic = "arn:aws:sns:eu-central-1:123456789012:pollo-outcomes";
    let function = Function::with(&[Reply::Accept], &[("SNS_TOPIC_ARN", topic)]).await;
    assert_eq!(function.receive(&event(SUCCEED)).await.status, 200);
    let head = &function.sns.calls()[0].head;
    assert!(head.contains("/eu-central-1/sns/aws4_request"), "{head}");
}

#[tokio::test]
async fn the_connection_lives_on_between_webhooks() {
    let function = Function::start(&[Reply::Accept]).await;
    for _ in 0..5 {
        assert_eq!(function.receive(&event(SUCCEED)).await.status, 200);
    }
    assert_eq!((function.sns.calls().len(), function.sns.connections()), (5, 1));
}
