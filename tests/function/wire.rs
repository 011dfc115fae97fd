//! The requests to SNS.

use crate::function::Function;
use crate::pollo::{SUCCEED, base64_event, event};
use crate::sns::Reply;

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
        for (name, value) in [("Action", "Publish"), ("Version", "2010-03-31"), ("TopicArn", TOPIC), ("Message", body)]
        {
            assert_eq!(call.field(name), Some(value));
        }
        let attribute = |number| {
            let part = |name| call.field(&format!("MessageAttributes.entry.{number}.{name}"));
            ["Name", "Value.DataType", "Value.StringValue"].map(|name| part(name).unwrap())
        };
        let mut attributes = [1, 2, 3, 4].map(attribute);
        attributes.sort_unstable();
        assert_eq!(
            attributes,
            [
                ["status", "String", "failed"],
                ["taskId", "String", "t&=+%\u{e9}"],
                ["webhookId", "String", "msg_1"],
                ["webhookTimestamp", "String", "1767225600"],
            ]
        );
        assert_eq!(call.form.len(), 4 + 4 * 3, "other fields: {:?}", call.form);
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
    const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:pollo-outcomes.fifo";
    let function = Function::with(&[Reply::Accept], &[("SNS_TOPIC_ARN", TOPIC)]).await;
    let long = "t".repeat(125);
    // Computed with Python: base64.urlsafe_b64encode(hashlib.sha256(id).digest())
    for (task_id, status, group, deduplication_id) in [
        ("t1", "succeed", "t1", "t1.succeed"),
        ("a b", "failed", "yGh6CKpdbtIEQyj6aml6uOltw0KR6MIDSujDjm_MbWU", "tVDoKGsYJZ0K975FJvIGbNUsRtqurHfJ7XEvLfQyv_0"),
        (&long, "failed", &long, "LzZiS4ArxZmeQ6SDOInbWPEK0fYc1YEQZPR83GpaCIo"),
    ] {
        let body = format!(r#"{{"taskId":"{task_id}","status":"{status}"}}"#);
        assert_eq!(function.receive(&event(&body)).await.status, 200);
        let calls = function.sns.calls();
        let call = calls.last().unwrap();
        assert_eq!(call.field("MessageGroupId"), Some(group));
        assert_eq!(call.field("MessageDeduplicationId"), Some(deduplication_id));
        assert_eq!((call.field("TopicArn"), call.field("Message")), (Some(TOPIC), Some(&*body)));
        assert_eq!(call.form.len(), 6 + 4 * 3, "other fields: {:?}", call.form);
    }
}

#[tokio::test]
async fn webhooks_share_one_connection() {
    let function = Function::start(&[Reply::Accept]).await;
    for _ in 0..5 {
        assert_eq!(function.receive(&event(SUCCEED)).await.status, 200);
    }
    let calls = function.sns.calls();
    assert!(calls.len() == 5 && calls.iter().all(|call| call.from == calls[0].from), "{calls:?}");
}
