//! The ARN of the topic that outcomes are published to.

/// The ARN of an SNS topic, `arn:PARTITION:sns:REGION:ACCOUNT:NAME`.
///
/// The name has 1 to 256 characters of `A-Z a-z 0-9 - _`. The name of a FIFO topic ends in `.fifo`, which counts too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicArn {
    arn: String,
    region: String,
}

impl TopicArn {
    /// `None` if the text is not the ARN of an SNS topic.
    pub fn parse(arn: &str) -> Option<Self> {
        let parts: Vec<&str> = arn.split(':').collect();
        let ["arn", partition, "sns", region, account, full_name] = parts[..] else { return None };
        let name = full_name.strip_suffix(".fifo").unwrap_or(full_name);
        let is_word =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        let is_topic = [partition, region, name].into_iter().all(is_word) && is_account && full_name.len() <= 256;
        is_topic.then(|| Self { arn: arn.to_owned(), region: region.to_owned() })
    }

    /// The whole ARN.
    pub fn as_str(&self) -> &str {
        &self.arn
    }

    /// The region of the topic. SNS accepts messages for the topic in this region only.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Whether this is a FIFO topic.
    pub fn is_fifo(&self) -> bool {
        self.arn.ends_with(".fifo")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_arns_of_topics() {
        for (arn, region, fifo) in [
            ("arn:aws:sns:us-east-1:123456789012:pollo-outcomes", "us-east-1", false),
            ("arn:aws:sns:eu-central-1:123456789012:pollo_Outcomes.fifo", "eu-central-1", true),
            ("arn:aws-cn:sns:cn-north-1:123456789012:t", "cn-north-1", false),
            ("arn:aws-us-gov:sns:us-gov-west-1:123456789012:fifo", "us-gov-west-1", false),
        ] {
            let topic = TopicArn::parse(arn).unwrap();
            assert_eq!((topic.as_str(), topic.region(), topic.is_fifo()), (arn, region, fifo));
        }
    }

    #[test]
    fn rejects_everything_else() {
        let name_of = |length| format!("arn:aws:sns:us-east-1:123456789012:{}", "n".repeat(length));
        assert!(TopicArn::parse(&name_of(256)).is_some());
        for text in [
            "",
            "pollo-outcomes",
            "arn:aws:sns:us-east-1:123456789012",
            "arn:aws:sns:us-east-1:123456789012:",
            "arn:aws:sns:us-east-1:123456789012:.fifo",
            "arn:aws:sns:us-east-1:123456789012:a.b",
            "arn:aws:sns:us-east-1:123456789012:a.fifo.fifo",
            "arn:aws:sns:us-east-1:123456789012:a b",
            "arn:aws:sns:us-east-1:123456789012:topic:3b1b2f0c-subscription",
            "arn:aws:sqs:us-east-1:123456789012:queue",
            "arn:aws:sns::123456789012:topic",
            "arn::sns:us-east-1:123456789012:topic",
            "arn:aws:sns:us-east-1:12345678901:topic",
            "arn:aws:sns:us-east-1:12345678901a:topic",
            "arn:aws:sns:us east:123456789012:topic",
            " arn:aws:sns:us-east-1:123456789012:topic",
            &name_of(257),
        ] {
            assert_eq!(TopicArn::parse(text), None, "{text:?}");
        }
    }
}
