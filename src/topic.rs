//! The ARN of the topic that outcomes are published to.

use std::str::FromStr;

/// The text is not the ARN of an SNS topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the ARN of an SNS topic")]
pub struct TopicArnError;

/// The ARN of an SNS topic, `arn:PARTITION:sns:REGION:ACCOUNT:NAME`.
///
/// The name has 1 to 256 characters of `A-Z a-z 0-9 - _`. The name of a FIFO topic ends in `.fifo`, which counts too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicArn {
    arn: String,
    region: String,
}

impl TopicArn {
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

impl FromStr for TopicArn {
    type Err = TopicArnError;

    fn from_str(arn: &str) -> Result<Self, TopicArnError> {
        let parts: Vec<&str> = arn.split(':').collect();
        let ["arn", partition, "sns", region, account, full_name] = parts[..] else { return Err(TopicArnError) };
        let name = full_name.strip_suffix(".fifo").unwrap_or(full_name);
        let word =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        if word(partition)
            && word(region)
            && account.len() == 12
            && account.bytes().all(|b| b.is_ascii_digit())
            && word(name)
            && full_name.len() <= 256
        {
            Ok(Self { arn: arn.to_owned(), region: region.to_owned() })
        } else {
            Err(TopicArnError)
        }
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
            let topic: TopicArn = arn.parse().unwrap();
            assert_eq!((topic.as_str(), topic.region(), topic.is_fifo()), (arn, region, fifo));
            assert_eq!(topic.as_str(), arn);
        }
    }

    #[test]
    fn rejects_everything_else() {
        let name_of = |length| format!("arn:aws:sns:us-east-1:123456789012:{}", "n".repeat(length));
        assert!(name_of(256).parse::<TopicArn>().is_ok());
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
            assert_eq!(text.parse::<TopicArn>(), Err(TopicArnError), "{text:?}");
        }
    }
}
