//! File systems in memory: `--tmpfs` and `--shm-size`.

use testlab::host::Host;

#[test]
#[ignore = "needs root: make test"]
fn a_tmpfs_is_writable_where_the_root_is_not_and_holds_what_its_size_says() {
    let host = Host::new("tmpfs");
    let script = "touch /x 2>/dev/null && echo root; touch /tmp/x /run/deep/x && stat -c %a /tmp /run/deep; \
                  head -c 2M /dev/zero > /tmp/big 2>/dev/null || stat -c %s /tmp/big; \
                  for place in /tmp /run/deep; do cp /usr/bin/true $place/true; $place/true 2>/dev/null && echo executed $place; done; \
                  grep -E '^tmpfs (/tmp|/run/deep) ' /proc/mounts | cut -d' ' -f2,4 | sort";
    let options = ["--read-only", "--tmpfs", "/tmp:size=1m", "--tmpfs", "/run/deep:exec", "-u", "nobody"];
    // The place in the image is made when it is missing, before the root is shut.
    let words = [&["-q", "run", "--rm"], &options[..], &["img", "q", "--", "bash", "-c", script]].concat();
    let seen = host.run(&words);
    let lines: Vec<&str> = seen.out.lines().collect();
    assert_eq!(lines[..4], ["1777", "1777", "1048576", "executed /run/deep"], "{seen:?}");
    assert!(lines[4].starts_with("/run/deep rw,nosuid,nodev,relatime"), "{seen:?}");
    assert!(lines[5].starts_with("/tmp rw,nosuid,nodev,noexec,relatime,size=1024k"), "{seen:?}");
    // It goes with the container, and is no part of an image.
    host.ok(&["run", "-d", "--tmpfs", "/srv/mem", "img", "web", "--", "sleep", "infinity"]);
    let file = host.store.join("file");
    std::fs::write(&file, "in memory").unwrap();
    host.ok(&["cp", file.to_str().unwrap(), "web:/srv/mem/file"]);
    assert_eq!(host.ok(&["-q", "exec", "web", "--", "cat", "/srv/mem/file"]), "in memory");
    assert!(!host.container("web").join("upper/srv/mem/file").exists());
    assert!(host.ok(&["inspect", "web"]).contains("\"place\": \"/srv/mem\""));
    host.ok(&["commit", "web", "made"]);
    assert_eq!(host.ok(&["-q", "run", "--rm", "made", "q", "--", "ls", "/srv/mem"]), "");
    for (wrong, said) in [
        ("/proc/x", "/proc is mounted by conductor"),
        ("/tmp:size=0", "at least 4k"),
        ("tmp", "is absolute"),
        ("/etc/hosts", "the target is a file"),
    ] {
        let refused = host.run(&["run", "--rm", "--tmpfs", wrong, "img", "q", "--", "true"]);
        assert!(refused.code == 125 && refused.err.contains(said), "{wrong}: {refused:?}");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn shared_memory_is_as_large_as_was_asked_for() {
    let host = Host::new("shm-size");
    let size = |options: &[&str]| {
        let look = [
            "img",
            "q",
            "--",
            "bash",
            "-c",
            "df --output=size /dev/shm | tail -n 1; stat -c %a /dev/shm; touch /dev/shm/x",
        ];
        let seen = host.run(&[&["-q", "run", "--rm", "-u", "nobody"], options, &look].concat());
        assert_eq!(seen.code, 0, "{seen:?}");
        seen.out.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(size(&[]), ["65536", "1777"]);
    assert_eq!(size(&["--shm-size", "256m"]), ["262144", "1777"]);
    assert_eq!(size(&["--tmpfs", "/dev/shm:size=8k"]), ["8", "1777"]);
    // It is the first process's and everybody's.
    host.ok(&[
        "run",
        "-d",
        "--shm-size",
        "1m",
        "img",
        "web",
        "--",
        "bash",
        "-c",
        "echo here > /dev/shm/a; sleep infinity",
    ]);
    crate::life::wait_for(|| {
        let seen = host.run(&[
            "-q",
            "exec",
            "web",
            "--",
            "bash",
            "-c",
            "cat /dev/shm/a; df --output=size /dev/shm | tail -n 1",
        ]);
        seen.out.contains("here\n").then(|| assert_eq!(seen.out.split_whitespace().nth(1), Some("1024"), "{seen:?}"))
    });
    let wrong = host.run(&["run", "--shm-size", "0", "img", "q", "--", "true"]);
    assert!(wrong.code == 125 && wrong.err.contains("for example 256m"), "{wrong:?}");
    let twice = host.run(&["run", "--shm-size", "1m", "--tmpfs", "/dev/shm", "img", "q", "--", "true"]);
    assert!(twice.code == 125 && twice.err.contains("they have the same target"), "{twice:?}");
}
