//! Tests that need a process to themselves.

use std::process::Command;

/// Says to a process that it was started by [`alone`].
const MARK: &str = "TEST_RUNS_ALONE";

/// Runs the rest of a test, the closure, in a process of its own, in which no other test runs: for
/// what counts threads, lowers limits of the process or installs a logger.
pub(crate) fn alone<F: FnOnce()>(test: F) {
    if std::env::var_os(MARK).is_some() {
        return test();
    }
    // `program::module::test::{{closure}}`
    let path = std::any::type_name::<F>();
    let path = path.strip_suffix("::{{closure}}").expect("a closure");
    let (_, name) = path.split_once("::").expect("a program and a path in it");
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(program);
    command
        .args(["--exact", name, "--nocapture"])
        .env(MARK, "1");
    let output = command.output().expect("this program can be run");
    let told =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    let passed = output.status.success() && told[0].contains("test result: ok. 1 passed");
    assert!(
        passed,
        "{name}: {}\n{}\n{}",
        output.status, told[0], told[1]
    );
}
