//! The README followed to the letter on a machine that has nothing but Rust and a C compiler.

use lab::skip;

/// An empty Debian root, a fresh clone of HEAD, the README's two commands; `tests/newcomer/run` does it and says what it saw.
#[test]
fn newcomer_follows_the_readme_and_has_television() {
    const NAME: &str = "newcomer_follows_the_readme_and_has_television";
    if let Some(obstacle) = skip::obstacle(&["debootstrap", "git", "unshare", "tar"]) {
        return skip::report(NAME, &obstacle);
    }
    let output =
        std::process::Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../newcomer/run")).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if let Some(reason) = told.lines().find_map(|line| line.strip_prefix("SKIPPED newcomer: ")) {
        return skip::report(NAME, reason);
    }
    assert!(output.status.success(), "{told}");
}
