//! Sends the sample events and compares the results with `events/expected.json`.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Map, Value};

use crate::function::Function;
use crate::sns::Reply;

fn read(file: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(format!("events/{file}")).unwrap()).unwrap()
}

fn expected() -> Map<String, Value> {
    serde_json::from_value(read("expected.json")).unwrap()
}

#[tokio::test]
async fn each_event_gets_the_expected_response_and_log_line() {
    let function = Function::start(&[Reply::Accept]).await;
    let untimed = Function::with(&[Reply::Accept], &[("WEBHOOK_TOLERANCE_SECONDS", "0")]).await;
    for (file, expected) in expected() {
        let event = read(&file);
        let response = function.receive(&event).await;
        assert_eq!(response.status, expected["status"], "{file}");
        for (field, value) in expected["log"].as_object().unwrap() {
            assert_eq!(response.log[field], *value, "{field} of {file}");
        }
        let without_tolerance = expected.get("statusWithoutTolerance").unwrap_or(&expected["status"]);
        assert_eq!(untimed.receive(&event).await.status, *without_tolerance, "{file}");
    }
}

#[test]
fn each_event_is_in_expected_json() {
    let files = fs::read_dir("events").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let events: BTreeSet<String> = files.filter(|file| file.ends_with(".json") && file != "expected.json").collect();
    assert_eq!(events, expected().into_iter().map(|(file, _)| file).collect());
    assert!(!events.is_empty());
}
