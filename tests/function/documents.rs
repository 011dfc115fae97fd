//! What the documents say of the crates holds.

const MANIFEST: &str = include_str!("../../Cargo.toml");
const LOCK: &str = include_str!("../../Cargo.lock");
const REVIEW: &str = include_str!("../../docs/dependencies.md");

/// The crates of a section of the manifest, each with the version that the lock has of it.
fn locked(section: &str) -> Vec<(String, String)> {
    let (_, rest) = MANIFEST.split_once(&format!("\n[{section}]\n")).unwrap();
    let requirements = rest.lines().take_while(|line| !line.is_empty()).map(|line| line.split_once(" = ").unwrap());
    requirements
        .map(|(name, requirement)| {
            let wanted = requirement.split('"').find(|text| text.starts_with(|c: char| c.is_ascii_digit())).unwrap();
            let mut versions = LOCK.split("[[package]]\n").filter_map(|package| {
                let version = package.strip_prefix(&format!("name = \"{name}\"\nversion = \""))?;
                version.split('"').next().filter(|version| version.starts_with(wanted))
            });
            (name.to_owned(), versions.next().unwrap().to_owned())
        })
        .collect()
}

/// The first two cells of the rows of the table under this heading.
fn reviewed(heading: &str) -> Vec<(String, String)> {
    let (_, rest) = REVIEW.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = rest.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let mut cells = row.split('|').map(|cell| cell.trim().trim_matches('`').to_owned());
        (cells.next().unwrap(), cells.next().unwrap())
    })
    .collect()
}

#[test]
fn each_direct_dependency_was_reviewed_in_the_version_that_is_locked() {
    assert_eq!(reviewed("In the function"), locked("dependencies"));
    assert_eq!(reviewed("For its tests"), locked("dev-dependencies"));
    assert!(locked("dependencies").len() > 10);
}
