//! `masthead bench` itself: that it measures from end to end, loses nothing, and says what it found. Figures are not judged.

use lab::command::ours;
use lab::skip;
use serde_json::Value;

/// The measures of which one short run takes less than half a minute in all, and needs no peer.
const MEASURES: [&str; 2] = ["fan_out", "start_up"];

/// Runs the quick form without peers. The bench opens a laboratory of its own, so that this test opens none.
#[test]
fn bench_measures_from_end_to_end_and_loses_nothing() {
    const NAME: &str = "bench_measures_from_end_to_end_and_loses_nothing";
    if let Some(obstacle) = skip::obstacle(&lab::ALWAYS_NEEDED) {
        return skip::report(NAME, &obstacle);
    }
    let plot = std::env::temp_dir().join(format!("masthead-bench-{}.svg", std::process::id()));
    let output = std::process::Command::new(ours("masthead"))
        .args(["bench", "--quick", "--peers", "none", "--format", "json", "--svg"])
        .arg(&plot)
        .args(MEASURES)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = result["rows"].as_array().unwrap();
    for (measure, sender) in [("fan_out", "reference"), ("fan_out", "Masthead"), ("start_up", "Masthead")] {
        let row = rows.iter().find(|row| row["measure"] == measure && row["sender"] == sender);
        let figures =
            row.unwrap_or_else(|| panic!("no row of {sender} in {measure}: {told}"))["figures"].as_array();
        assert!(
            figures.unwrap().iter().all(|figure| figure["runs"].as_array().unwrap().len() == 1),
            "{row:?}"
        );
        assert!(figures.unwrap()[0]["median"].as_f64().unwrap() > 0.0, "{row:?}");
    }
    let lost = rows
        .iter()
        .flat_map(|row| row["figures"].as_array().unwrap())
        .filter(|figure| figure["name"] == "lost");
    assert!(lost.clone().count() > 0 && lost.into_iter().all(|figure| figure["max"] == 0.0), "{told}");
    let drawn = std::fs::read_to_string(&plot).unwrap();
    std::fs::remove_file(&plot).unwrap();
    assert_eq!(drawn.matches("class=\"line\"").count(), 2, "a line for each sender");
}

/// Somebody who is not root learns what to do, and by the exit status that nothing was measured.
#[test]
fn bench_says_what_it_needs() {
    const NAME: &str = "bench_says_what_it_needs";
    if let Some(obstacle) = skip::obstacle(&["setpriv"]) {
        return skip::report(NAME, &obstacle);
    }
    let folder = std::env::temp_dir().join(format!("masthead-bench-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    // Where nobody may read them, and where nothing stands beside them.
    let lone = folder.join("masthead");
    std::fs::copy(ours("masthead"), &lone).unwrap();
    let bench = |program: &std::path::Path, measure: &str| {
        let output = std::process::Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(program)
            .args(["bench", measure])
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (status, told) = bench(&lone, "start_up");
    assert!(status == Some(2) && told.contains("masthead-push-server"), "{status:?} {told}");
    let (status, told) = bench(&lone, "speed");
    assert!(status == Some(2) && told.contains("fan_out"), "{status:?} {told}");
    std::fs::copy(ours("masthead-push-server"), folder.join("masthead-push-server")).unwrap();
    let (status, told) = bench(&lone, "start_up");
    assert!(status == Some(2) && told.contains("needs root"), "{status:?} {told}");
    std::fs::remove_dir_all(&folder).unwrap();
}
