//! The results have the same names in the function, in the template's filters, in `make replay` and in the runbook.

const HANDLER: &str = include_str!("../../src/handler.rs");
const TEMPLATE: &str = include_str!("../../template.yaml");
const REPLAY: &str = include_str!("../../operate/log.py");
const RUNBOOK: &str = include_str!("../../docs/operations.md");

#[test]
fn each_result_has_one_name_everywhere() {
    let verdict = HANDLER.split("fn verdict(").nth(1).unwrap().split("\n}\n").next().unwrap();
    let (others, authentic) = verdict.split_once("NotPublished").unwrap();
    let names = |text: &'static str| -> Vec<&str> { text.split('"').skip(1).step_by(2).collect() };
    let (others, authentic) = (names(others), names(authentic));

    let replayed = REPLAY.split("NOT_PUBLISHED = [").nth(1).unwrap().split(']').next().unwrap();
    assert_eq!(sorted(names(replayed)), sorted(authentic.clone()), "replay");

    let filters = TEMPLATE.split("$.result = \"").skip(1).map(|rest| rest.split('"').next().unwrap());
    let mut all = [others, authentic].concat();
    all.retain(|name| *name != "method_not_allowed");
    assert_eq!(sorted(filters.collect()), sorted(all.clone()), "template");

    for name in all.into_iter().filter(|name| *name != "published") {
        assert!(RUNBOOK.contains(&format!("`{name}`")), "the runbook does not explain {name}");
    }
}

fn sorted(mut names: Vec<&str>) -> Vec<&str> {
    names.sort_unstable();
    names
}
