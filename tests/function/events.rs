//! The sample events, held against the answers that their README promises.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::function::Function;
use crate::sns::Reply;

/// The rows of the table in `events/README.md`: the file and the answer it must get.
fn promised() -> Vec<(String, String)> {
    let readme = fs::read_to_string("events/README.md").unwrap();
    let rows = readme.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        (cells[1].trim_matches('`').to_owned(), cells[3].to_owned())
    })
    .collect()
}

fn read(file: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(format!("events/{file}")).unwrap()).unwrap()
}

#[tokio::test]
async fn each_gets_the_answer_that_the_readme_promises() {
    let function = Function::start(&[Reply::Accept]).await;
    let untimed = Function::with(&[Reply::Accept], &[("WEBHOOK_TOLERANCE_SECONDS", "0")]).await;
    for (file, promise) in promised() {
        let (timed, without_tolerance) = match promise.as_str() {
            "401, or 200 with the tolerance switched off" => ("401", "200"),
            status => (status, status),
        };
        let event = read(&file);
        assert_eq!(function.receive(&event).await.status.to_string(), timed, "{file}");
        assert_eq!(untimed.receive(&event).await.status.to_string(), without_tolerance, "{file}");
    }
}

#[test]
fn the_readme_names_every_event() {
    let files = fs::read_dir("events").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let events: BTreeSet<String> = files.filter(|file| file.ends_with(".json")).collect();
    let named: BTreeSet<String> = promised().into_iter().map(|(file, _)| file).collect();
    assert_eq!(events, named);
    assert!(!events.is_empty());
}
