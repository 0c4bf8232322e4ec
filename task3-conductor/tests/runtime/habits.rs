//! What fingers do that are used to other tools, and what they expect then.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Stdio;
use std::time::{Duration, Instant};

use testlab::host::{Host, within};

#[test]
#[ignore = "needs root: make test"]
fn a_folder_that_is_copied_onto_keeps_its_mode_and_what_it_holds() {
    let host = Host::new("cp-onto");
    host.start("web");
    let here = host.store.join("here");
    let mode = |path: &str, mode| fs::set_permissions(here.join(path), fs::Permissions::from_mode(mode)).unwrap();
    for folder in ["site/new", "tmp", "out/tmp"] {
        fs::create_dir_all(here.join(folder)).unwrap();
    }
    fs::write(here.join("site/page"), "page").unwrap();
    mode("site/new", 0o750);
    mode("tmp", 0o700);
    mode("out/tmp", 0o1777);
    let path = |below: &str| format!("{}/{below}", here.display());
    for _ in 0..2 {
        host.ok(&["cp", &path("site/."), "web:/srv"]);
    }
    host.ok(&["cp", &path("site/."), "web:/"]);
    host.ok(&["cp", &path("tmp"), "web:/"]);
    assert_eq!(host.ok(&["-q", "exec", "web", "--", "stat", "-c", "%a", "/tmp", "/srv/new"]), "1777\n750\n");
    host.ok(&["-q", "exec", "web", "--", "bash", "-c", "chmod 755 /tmp; echo kept >/tmp/file"]);
    host.ok(&["cp", "web:/tmp", &path("out")]);
    host.ok(&["cp", "web:/tmp/.", &path("out/tmp")]);
    assert_eq!(fs::metadata(here.join("out/tmp")).unwrap().mode() & 0o7777, 0o1777, "a folder of the host's");
    assert_eq!(fs::read_to_string(here.join("out/tmp/file")).unwrap(), "kept\n");
}

#[test]
#[ignore = "needs root: make test"]
fn a_container_ends_when_the_reader_of_its_terminal_ends() {
    let host = Host::new("no-reader");
    let before = host.snapshot();
    let mut run = host.piped(&["-q", "run", "--rm", "-t", "img", "web", "--", "yes"]);
    drop(run.stdout.take());
    let ended = run.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(137), "{ended:?}");
    assert!(!host.ok(&["ps"]).contains("web"));
    assert_eq!(host.snapshot(), before);
    // A shell hears the hang-up; what it ends with is what comes out.
    let script = "trap 'exit 7' HUP; while :; do echo more; done";
    let mut run = host.piped(&["-q", "run", "-t", "img", "web", "--", "bash", "-c", script]);
    drop(run.stdout.take());
    assert_eq!(run.wait().unwrap().code(), Some(7));
    assert!(host.ok(&["ps"]).contains("exited (7)"));
}

#[test]
#[ignore = "needs root: make test"]
fn the_end_of_input_reaches_late_readers_of_a_terminal() {
    let host = Host::new("end-of-input");
    host.start("web");
    let limit = within(Duration::from_secs(20));
    for script in ["exec bash -i", "stty raw; sleep 0.1; stty cooked; cat", "sleep 0.1; cat; cat"] {
        for _ in 0..3 {
            let begun = Instant::now();
            let mut exec = host.conductor(&["exec", "-it", "web", "--", "bash", "-c", script]);
            let mut exec = exec.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            while exec.try_wait().unwrap().is_none() {
                if begun.elapsed() > limit {
                    exec.kill().unwrap();
                    panic!("{script} still waits");
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

#[test]
#[ignore = "needs root: make test"]
fn the_name_stands_before_the_dashes() {
    let host = Host::new("no-name");
    let before = host.snapshot();
    host.start("web");
    for words in [
        &["run", "img", "--", "true"][..],
        &["run", "--rm", "img", "--", "ls", "-l"],
        &["run", "-e", "A=--", "img", "--", "sleep", "1"],
        &["exec", "--", "ls"],
    ] {
        let refused = host.run(words);
        assert!(refused.code == 125 && refused.err.contains("<NAME>"), "{words:?}: {refused:?}");
    }
    // A command may be called as its container.
    assert_eq!(host.run(&["-q", "run", "--rm", "img", "true", "--", "true"]).code, 0);
    assert_eq!(host.run(&["-q", "run", "--rm", "img", "true", "true"]).code, 0);
    host.ok(&["stop", "-t", "0", "web"]);
    assert_eq!(host.snapshot(), before, "nothing was made");
}

#[test]
#[ignore = "needs root: make test"]
fn volumes_lie_in_each_other_whatever_their_order_and_fit_their_places() {
    let host = Host::new("volumes");
    let here = host.store.join("here");
    for folder in ["outer", "inner"] {
        fs::create_dir_all(here.join(folder)).unwrap();
        fs::write(here.join(folder).join("name"), folder).unwrap();
    }
    let volume = |source: &str, place: &str| format!("{}/{source}:{place}", here.display());
    let (outer, inner) = (volume("outer", "/data"), volume("inner", "/data/sub"));
    for pair in [[&outer, &inner], [&inner, &outer]] {
        let words = [
            "-q",
            "run",
            "--rm",
            "-v",
            pair[0],
            "-v",
            pair[1],
            "img",
            "web",
            "--",
            "cat",
            "/data/name",
            "/data/sub/name",
        ];
        assert_eq!(host.ok(&words), "outerinner");
    }
    let file = volume("outer/name", "/etc");
    let folder = volume("outer", "/etc/passwd");
    for (volumes, said) in [
        (&[&*outer, &volume("inner", "/data/")][..], "they have the same target; leave one of them out"),
        (&[&*file], "on /etc: the source is a file, and in the image the target is a folder"),
        (&[&*folder], "on /etc/passwd: the source is a folder, and in the image the target is a file"),
    ] {
        let options = volumes.iter().flat_map(|volume| ["-v", volume]);
        let words: Vec<&str> = ["run", "--rm"].into_iter().chain(options).chain(["img", "web", "--", "true"]).collect();
        let refused = host.run(&words);
        assert!(refused.code == 125 && refused.err.contains(said), "{volumes:?}: {refused:?}");
    }
    assert!(!host.ok(&["ps"]).contains("web"));
}
