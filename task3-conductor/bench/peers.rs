//! What others need for the same: unshare and bwrap for the namespaces alone, runc, crun and podman for containers.
//!
//! They get the same root folder and the same command. runc and crun mount no overlay; that is another tool's work there.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::clock::Subject;
use crate::setup::BenchSetup;

pub fn starts(setup: &BenchSetup) -> Vec<Subject> {
    let layer = setup.layer.as_str();
    let root = format!("--root={layer}");
    let unshare =
        ["unshare", "--uts", "--pid", "--net", "--mount", "--ipc", "--cgroup", "--fork", "--mount-proc", &root, "true"];
    let bwrap =
        ["bwrap", "--unshare-all", "--bind", layer, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "true"];
    let mut subjects =
        vec![Subject::new("unshare (no overlay, no sandbox)", unshare), Subject::new("bwrap (no overlay)", bwrap)];
    for (runtime, name) in [("runc", "runc run"), ("crun", "crun run")] {
        let bundle = bundle(setup, runtime, "true", &["true"]);
        subjects.push(Subject::new(name, [runtime, "run", "--bundle", &bundle, "bench-timed"]));
    }
    let podman = ["podman", "run", "--rm", "--network=none", "--rootfs", &format!("{layer}:O"), "true"];
    subjects.push(Subject::new("podman run", podman));
    subjects
}

pub fn detached_starts(setup: &BenchSetup) -> Vec<Subject> {
    let detached_starts = |runtime: &'static str, name| {
        let bundle = bundle(setup, runtime, "sleep", &["sleep", "infinity"]);
        let start = [runtime, "run", "--detach", "--bundle", &bundle, "bench-stays"];
        Subject::new(name, start).then([runtime, "delete", "--force", "bench-stays"])
    };
    vec![detached_starts("runc", "runc run -d, delete -f"), detached_starts("crun", "crun run -d, delete -f")]
}

pub fn execs(setup: &BenchSetup) -> Vec<Subject> {
    let enter = |runtime: &'static str, name| {
        let container = format!("bench-held-{runtime}");
        let bundle = bundle(setup, runtime, "held", &["sleep", "infinity"]);
        let started = Command::new(runtime).args(["run", "--detach", "--bundle", &bundle, &container]).status();
        if started.is_ok_and(|status| status.success()) {
            setup.at_end([runtime, "delete", "--force", &container]);
        }
        Subject::new(name, [runtime, "exec", &container, "true"])
    };
    vec![enter("runc", "runc exec"), enter("crun", "crun exec")]
}

/// An OCI bundle as `runtime spec` writes it, with our root and command, and no terminal.
fn bundle(setup: &BenchSetup, runtime: &str, name: &str, command: &[&str]) -> String {
    let folder = setup.path(&format!("bundle-{runtime}-{name}"));
    fs::create_dir_all(&folder).unwrap();
    let made = Command::new(runtime).arg("spec").current_dir(&folder).status();
    if made.is_ok_and(|status| status.success()) {
        let path = Path::new(&folder).join("config.json");
        let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config["process"]["args"] = command.into();
        config["process"]["terminal"] = false.into();
        config["root"]["path"] = setup.layer.as_str().into();
        fs::write(&path, config.to_string()).unwrap();
    }
    folder
}
