//! The requests to SNS.

use crate::function::Function;
use crate::pollo::{SUCCEED, base64_event, event};
use crate::sns::{Call, Reply};

const FIFO_TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:pollo-outcomes.fifo";

/// The fields of a call without its attributes, and the name, type and value of each attribute. Both are sorted.
fn fields_and_attributes(call: &Call) -> (Vec<(&str, &str)>, Vec<[&str; 3]>) {
    let mut fields: Vec<_> = call.form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    fields.retain(|(name, _)| !name.starts_with("MessageAttributes."));
    fields.sort_unstable();
    let attribute = |number| {
        let part = |name| call.field(&format!("MessageAttributes.entry.{number}.{name}"));
        Some([part("Name")?, part("Value.DataType")?, part("Value.StringValue")?])
    };
    let mut attributes: Vec<_> = (1..).map_while(attribute).collect();
    attributes.sort_unstable();
    assert_eq!(fields.len() + 3 * attributes.len(), call.form.len());
    (fields, attributes)
}

#[tokio::test]
async fn publishes_the_verified_body_once_with_four_attributes() {
    const TOPIC: &str = "arn:aws:sns:eu-central-1:123456789012:pollo-outcomes";
    let environment = [("SNS_TOPIC_ARN", TOPIC), ("AWS_SESSION_TOKEN", "token/of+the+role==")];
    let body = " {\"taskId\":\"t&=+%\u{e9}\",\r\n\"status\":\"failed\",\"credit\":1.0,\"url\":\"https:\\/\\/a\"} ";
    for event in [event(body), base64_event("1767225600", body.as_bytes())] {
        let function = Function::with(&[Reply::Accept], &environment).await;
        assert_eq!(function.receive(&event).await.status, 200);
        let calls = function.sns.calls();
        let [call] = &calls[..] else { panic!("expected one call, not {}", calls.len()) };
        let (fields, attributes) = fields_and_attributes(call);
        assert_eq!(fields, [("Action", "Publish"), ("Message", body), ("TopicArn", TOPIC), ("Version", "2010-03-31")]);
        assert_eq!(
            attributes,
            [
                ["status", "String", "failed"],
                ["taskId", "String", "t&=+%\u{e9}"],
                ["webhookId", "String", "msg_1"],
                ["webhookTimestamp", "String", "1767225600"],
            ]
        );
        let head = &call.head;
        assert!(head.starts_with("post / http/1.1\r\n"), "{head}");
        assert!(head.contains("content-type: application/x-www-form-urlencoded\r\n"), "{head}");
        assert!(head.contains("/eu-central-1/sns/aws4_request"), "{head}");
        assert!(head.contains("x-amz-security-token: token/of+the+role==\r\n"), "{head}");
        let signed = head.split("signedheaders=").nth(1).unwrap().split(',').next().unwrap();
        assert!(signed.contains("x-amz-security-token"), "the token is not signed: {head}");
    }
}

#[tokio::test]
async fn a_fifo_topic_gets_group_and_deduplication_ids_hashed_if_invalid() {
    let function = Function::with(&[Reply::Accept], &[("SNS_TOPIC_ARN", FIFO_TOPIC)]).await;
    let long = "t".repeat(125);
    // Computed with Python: base64.urlsafe_b64encode(hashlib.sha256(id).digest())
    for (task_id, status, group, deduplication_id) in [
        ("t1", "succeed", "t1", "t1.succeed"),
        ("t1", "failed", "t1", "t1.failed"),
        ("a b", "failed", "yGh6CKpdbtIEQyj6aml6uOltw0KR6MIDSujDjm_MbWU", "tVDoKGsYJZ0K975FJvIGbNUsRtqurHfJ7XEvLfQyv_0"),
        (&long, "failed", &long, "LzZiS4ArxZmeQ6SDOInbWPEK0fYc1YEQZPR83GpaCIo"),
    ] {
        let body = format!(r#"{{"taskId":"{task_id}","status":"{status}"}}"#);
        assert_eq!(function.receive(&event(&body)).await.status, 200);
        let calls = function.sns.calls();
        let (fields, attributes) = fields_and_attributes(calls.last().unwrap());
        assert_eq!(
            fields,
            [
                ("Action", "Publish"),
                ("Message", &*body),
                ("MessageDeduplicationId", deduplication_id),
                ("MessageGroupId", group),
                ("TopicArn", FIFO_TOPIC),
                ("Version", "2010-03-31"),
            ]
        );
        assert_eq!(attributes.len(), 4);
    }
}

#[tokio::test]
async fn webhooks_share_one_connection() {
    let function = Function::start(&[Reply::Accept]).await;
    for _ in 0..5 {
        assert_eq!(function.receive(&event(SUCCEED)).await.status, 200);
    }
    assert_eq!((function.sns.calls().len(), function.sns.connections()), (5, 1));
}
