//! Sends the sample events and compares the results with `events/expected.json`.

use std::fs;

use serde_json::Value;

use crate::function::Function;
use crate::sns::Reply;

fn read(file: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(format!("events/{file}")).unwrap()).unwrap()
}

#[tokio::test]
async fn each_event_gets_the_expected_response_and_log_line() {
    let function = Function::start(&[Reply::Accept]).await;
    let untimed = Function::with(&[Reply::Accept], &[("WEBHOOK_TOLERANCE_SECONDS", "0")]).await;
    let Value::Object(mut all_expected) = read("expected.json") else { panic!("not an object") };
    let files = fs::read_dir("events").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    for file in files.filter(|file| file.ends_with(".json") && file != "expected.json") {
        let (event, expected) = (read(&file), all_expected.remove(&file).unwrap_or_default());
        let response = function.receive(&event).await;
        assert_eq!(response.status, expected["status"], "{file}");
        for (field, value) in expected["log"].as_object().unwrap() {
            assert_eq!(response.log[field], *value, "{field} of {file}");
        }
        let without_tolerance = expected.get("statusWithoutTolerance").unwrap_or(&expected["status"]);
        assert_eq!(untimed.receive(&event).await.status, *without_tolerance, "{file}");
    }
    assert!(all_expected.is_empty(), "expected of events that do not exist: {all_expected:?}");
}
