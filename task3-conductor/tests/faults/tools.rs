//! Programs and settings of the host that conductor needs: not there, failing, held by somebody else, or changed by hand.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::test_store::{IMAGE, TestStore, entries};
use testlab::host::copy_program;

fn ip(words: &str) {
    assert!(Command::new("ip").args(words.split(' ')).status().unwrap().success(), "ip {words}");
}

fn cover(place: &str, with: &Path) {
    mount(Some(with), place, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
}

fn uncover(place: &str) {
    umount2(place, MntFlags::MNT_DETACH).unwrap();
}

#[test]
#[ignore = "needs root: make test"]
fn without_iptables_a_network_is_refused_with_the_package_and_all_else_works() {
    let store = TestStore::new("tools-none");
    let before = store.baseline(false);
    let empty = tempfile::tempdir().unwrap();
    for place in ["/usr/sbin", "/sbin"] {
        cover(place, empty.path());
    }
    store.host.start("web");
    let refused = store.host.run(&["addnetwork", "web", "-i"]);
    assert!(refused.code == 125 && refused.err.contains("install it: apt install iptables"), "{refused:?}");
    store.host.ok(&["exec", "web", "--", "true"]);
    assert!(store.host.ok(&["ps"]).contains("running"));
    store.host.ok(&["stop", "web"]);
    store.host.ok(&["run", "--rm", IMAGE, "eg", "--", "true"]);
    uncover("/sbin");
    uncover("/usr/sbin");
    store.assert_unchanged(&before, "afterwards");
}

#[test]
#[ignore = "needs root: make test"]
fn iptables_that_went_after_the_network_was_made_does_not_keep_the_container() {
    let store = TestStore::new("tools-went");
    let before = store.baseline(true);
    store.host.start("web");
    store.host.ok(&["addnetwork", "web", "-i"]);
    let empty = tempfile::tempdir().unwrap();
    cover("/usr/sbin", empty.path());
    cover("/sbin", empty.path());
    let refused = store.host.run(&["stop", "web"]);
    assert!(refused.code == 125 && refused.err.contains("apt install iptables"), "its rules would stay: {refused:?}");
    let listed = store.host.run(&["ps"]);
    assert!(!listed.err.contains("panicked"), "{listed:?}");
    uncover("/sbin");
    uncover("/usr/sbin");
    store.host.ok(&["stop", "web"]);
    store.assert_unchanged(&before, "after stop");
}

#[test]
#[ignore = "needs root: make test"]
fn iptables_that_fails_at_any_table_leaves_no_rule_and_no_veth_pair() {
    let store = TestStore::new("tools-fails");
    let before = store.baseline(true);
    store.host.start("web");
    let during = store.snapshot(true);
    let real = store.context.path().join("real");
    let name = fs::canonicalize("/usr/sbin/iptables").unwrap();
    copy_program(&name, &real);
    // Stands in for the program under all its names; the first that changes the tables fails after some of its lines.
    for keep in [0, 1, 2, 4, 8, 12] {
        let script = store.context.path().join("stand-in");
        let once = store.context.path().join("once");
        let _ = fs::remove_file(&once);
        let text = format!(
            "#!/bin/bash\nname=$(basename \"$0\")\ncase $name in *-restore)\n\
             if [ ! -e {once} ]; then\n  touch {once}\n  (exec -a $name {real} \"$@\" < <(head -n {keep}; echo COMMIT)) 2> /dev/null\n  \
             echo \"$name: line 3 failed\" >&2\n  exit 1\nfi;;\nesac\nexec -a $name {real} \"$@\"\n",
            once = once.display(),
            real = real.display()
        );
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        cover(name.to_str().unwrap(), &script);
        let refused = store.host.run(&["addnetwork", "web", "-i", "-e", "3000:8080"]);
        uncover(name.to_str().unwrap());
        assert!(refused.code == 125 && refused.err.contains("line 3 failed"), "{keep}: {refused:?}");
        store.assert_unchanged(&during, &format!("after {keep} lines"));
    }
    store.host.ok(&["addnetwork", "web", "-i", "-e", "3000:8080"]);
    store.host.ok(&["stop", "web"]);
    store.assert_unchanged(&before, "after stop");
}

#[test]
#[ignore = "needs root: make test"]
fn the_lock_of_the_tables_is_waited_for_and_no_rule_is_lost() {
    let store = TestStore::new("tools-lock");
    // A rule in the old tables, whose programs share a lock, says that these are in use.
    ip("link set lo up");
    let legacy = |words: &str| Command::new("iptables-legacy").args(words.split(' ')).status().unwrap().success();
    assert!(legacy("-A INPUT -s 203.0.113.99 -j DROP"));
    store.host.start("web");
    let lock = "/run/xtables.lock";
    let mut holder = Command::new("flock");
    holder.args([lock, "sh", "-c", "echo held; read line"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = holder.spawn().unwrap();
    let mut said = [0; 5];
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut said).unwrap();
    let begun = Instant::now();
    let waiting = store.host.piped(&["addnetwork", "web", "-i", "-e", "3000:8080"]);
    std::thread::sleep(Duration::from_millis(1200));
    drop(holder.stdin.take());
    holder.wait().unwrap();
    let output = waiting.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(begun.elapsed() > Duration::from_millis(1200), "it waited");
    let saved = Command::new("iptables-legacy-save").output().unwrap();
    let saved = String::from_utf8(saved.stdout).unwrap();
    assert!(saved.contains("--to-destination 192.168.1.2:8080") && saved.contains("203.0.113.99"), "{saved}");
    store.host.ok(&["stop", "web"]);
    let saved = Command::new("iptables-legacy-save").output().unwrap();
    assert!(!String::from_utf8(saved.stdout).unwrap().to_lowercase().contains("conductor"));
    assert!(legacy("-D INPUT -s 203.0.113.99 -j DROP"));
}

#[test]
#[ignore = "needs root: make test"]
fn settings_that_cannot_be_written_are_named_and_what_was_made_is_taken_back() {
    let store = TestStore::new("tools-sysctl");
    let before = store.baseline(true);
    store.host.start("web");
    let during = store.snapshot(true);
    let place = "/proc/sys/net/ipv4";
    cover(place, Path::new(place));
    mount(None::<&str>, place, None::<&str>, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY, None::<&str>)
        .unwrap();
    let refused = store.host.run(&["addnetwork", "web", "-i"]);
    assert!(refused.code == 125 && refused.err.contains("Read-only file system (EROFS)"), "{refused:?}");
    assert!(refused.err.contains("ip_forward"), "{refused:?}");
    uncover(place);
    store.host.ok(&["ps"]);
    store.assert_unchanged(&during, "afterwards");
    store.host.ok(&["addnetwork", "web", "-i"]);
    store.host.ok(&["stop", "web"]);
    store.assert_unchanged(&before, "after stop");
}

#[test]
#[ignore = "needs root: make test"]
fn a_veth_pair_that_was_deleted_by_hand_is_made_again_by_addnetwork_and_no_obstacle_to_stop() {
    let store = TestStore::new("tools-veth");
    let before = store.baseline(true);
    for repaired in [true, false] {
        store.host.start("web");
        store.host.ok(&["addnetwork", "web", "-i"]);
        ip("link delete web-outside");
        assert!(store.host.ok(&["ps"]).contains("running"));
        if repaired {
            store.host.ok(&["addnetwork", "web", "-i"]);
            store.host.ok(&["exec", "web", "--", "ping", "-c1", "-W2", "192.168.1.1"]);
        }
        store.host.ok(&["stop", "web"]);
        store.assert_unchanged(&before, "after stop");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn rules_links_and_addresses_changed_by_hand_are_made_right_by_addnetwork() {
    let store = TestStore::new("tools-hand");
    let before = store.baseline(true);
    store.host.start("web");
    let add = ["addnetwork", "web", "-i", "-e", "3000:8080"];
    store.host.ok(&add);
    let whole = store.snapshot(true);
    let hands: [(&str, &[&str]); 6] = [
        ("iptables", &["-F", "FORWARD"]),
        ("iptables", &["-t", "nat", "-F", "CONDUCTOR-PREROUTING"]),
        ("ip", &["address", "flush", "dev", "web-outside"]),
        ("ip", &["link", "set", "web-outside", "down"]),
        ("sysctl", &["-qw", "net.ipv4.ip_forward=0"]),
        ("sysctl", &["-qw", "net.ipv4.conf.web-outside.rp_filter=0"]),
    ];
    for (program, words) in hands {
        assert!(Command::new(program).args(words).status().unwrap().success());
        store.host.ok(&add);
        store.assert_unchanged(&whole, &format!("{program} {words:?}"));
        store.host.ok(&["exec", "web", "--", "ping", "-c1", "-W2", "192.168.1.1"]);
    }
    store.host.ok(&["stop", "web"]);
    store.assert_unchanged(&before, "after stop");
}

#[test]
#[ignore = "needs root: make test"]
fn network_namespaces_of_others_are_not_touched() {
    let store = TestStore::new("tools-netns");
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    ip("netns add somebodys");
    let before = store.baseline(true);
    store.host.start("web");
    store.host.ok(&["addnetwork", "web", "-i"]);
    store.host.ok(&["stop", "web"]);
    store.host.ok(&["ps"]);
    assert_eq!(entries(Path::new("/run/netns")).len(), 1);
    ip("netns exec somebodys true");
    store.assert_unchanged(&before, "afterwards");
    ip("netns delete somebodys");
}

#[test]
#[ignore = "needs root: make test"]
fn programs_of_the_callers_path_and_folder_are_never_run() {
    let store = TestStore::new("tools-path");
    let before = store.baseline(true);
    let (folder, canary) = (store.context.path(), store.context.path().join("canary"));
    for name in [
        "iptables",
        "iptables-restore",
        "iptables-nft",
        "iptables-nft-restore",
        "ip",
        "mount",
        "umount",
        "sh",
        "nsenter",
        "unshare",
        "ldd",
        "debootstrap",
        "cat",
        "true",
    ] {
        let program = folder.join(name);
        fs::write(&program, format!("#!/bin/bash\necho $0 >> {}\n", canary.display())).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let run = |words: &[&str]| {
        let mut command = store.host.conductor(words);
        command
            .env("PATH", format!(".:{}", folder.display()))
            .env("IFS", "/")
            .env("BASH_ENV", folder.join("sh"))
            .env("ENV", folder.join("sh"));
        command.env("LD_PRELOAD", "/no/such/library.so").env("LD_LIBRARY_PATH", folder).current_dir(folder);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
    };
    run(&["build", "small", "--from", "host"]);
    run(&["run", "-d", "small", "web", "--", "sleep", "infinity"]);
    run(&["addnetwork", "web", "-i", "-e", "3000:8080"]);
    run(&["exec", "web", "--", "true"]);
    run(&["ps"]);
    run(&["stop", "web"]);
    run(&["rmi", "small"]);
    assert!(!canary.exists(), "{}", fs::read_to_string(&canary).unwrap());
    store.assert_unchanged(&before, "afterwards");
}
