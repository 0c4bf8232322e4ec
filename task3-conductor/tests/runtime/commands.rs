//! The commands of everyday: stop, kill, wait, rm, stats, cp, commit, and what helps at the keyboard.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::life::wait_for;
use testlab::host::{Host, within};

#[test]
#[ignore = "needs root: make test"]
fn stop_takes_several_names_and_all_and_one_that_is_missing_keeps_no_other() {
    let host = Host::new("stop-several");
    let before = host.snapshot();
    for name in ["a", "b", "c", "d"] {
        host.start(name);
    }
    let outcome = host.run(&["-q", "stop", "-t", "0", "a", "nobody", "b"]);
    assert_eq!(
        (outcome.code, outcome.out.as_str()),
        (125, "a succesfully removed\nb succesfully removed\n"),
        "{outcome:?}"
    );
    assert!(outcome.err.contains("cannot find container nobody"), "{outcome:?}");
    host.run(&["run", "img", "ended", "--", "true"]);
    assert_eq!(host.run(&["-q", "stop", "--all", "-t", "0"]).out.lines().count(), 3);
    assert_eq!(host.run(&["-q", "stop", "--all"]).code, 0, "none is nothing to do");
    for wrong in [&["stop"][..], &["stop", "--all", "a"], &["stop", "-t", "-1", "a"], &["stop", "-t", "abc", "a"]] {
        assert_eq!(host.run(wrong).code, 125, "{wrong:?}");
    }
    assert_eq!(host.snapshot(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn a_first_process_that_ignores_the_request_has_the_time_that_it_was_given() {
    let host = Host::new("patience");
    let deaf = "trap '' TERM; trap : USR1; echo ready; while :; do sleep 1; done";
    let stop = |time: &str| {
        host.ok(&["run", "-d", "img", "web", "--", "bash", "-c", deaf]);
        wait_for(|| host.ok(&["logs", "web"]).contains("ready").then_some(()));
        let start = Instant::now();
        host.ok(&["stop", "-t", time, "web"]);
        start.elapsed()
    };
    // One that ignores it in so many words cannot hear it either.
    assert!(stop("65535") < within(Duration::from_secs(2)));
    let busy = "trap 'echo heard' TERM; echo ready; while :; do sleep 0.1; done";
    host.ok(&["run", "-d", "img", "busy", "--", "bash", "-c", busy]);
    wait_for(|| host.ok(&["logs", "busy"]).contains("ready").then_some(()));
    let start = Instant::now();
    host.ok(&["stop", "-t", "1", "busy"]);
    let waited = start.elapsed();
    assert!(waited > Duration::from_secs(1) && waited < within(Duration::from_secs(4)), "{waited:?}");
    // The longest that can be asked for is no longer than it takes.
    let slow = "trap 'sleep 0.3; exit' TERM; echo ready; while :; do sleep 0.1; done";
    host.ok(&["run", "-d", "img", "slow", "--", "bash", "-c", slow]);
    wait_for(|| host.ok(&["logs", "slow"]).contains("ready").then_some(()));
    let start = Instant::now();
    host.ok(&["stop", "-t", "65535", "slow"]);
    let waited = start.elapsed();
    assert!(waited > Duration::from_millis(300) && waited < within(Duration::from_secs(5)), "{waited:?}");
}

#[test]
#[ignore = "needs root: make test"]
fn kill_sends_the_named_signal_and_warns_when_it_is_dropped() {
    let host = Host::new("kill");
    let script = "trap 'echo got HUP' HUP; trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    for name in ["web", "db"] {
        host.ok(&["run", "-d", "img", name, "--", "bash", "-c", script]);
        wait_for(|| host.ok(&["logs", name]).contains("ready").then_some(()));
    }
    assert_eq!(host.ok(&["kill", "-s", "SIGHUP", "web", "db"]), "web\ndb\n");
    for name in ["web", "db"] {
        wait_for(|| host.ok(&["logs", name]).contains("got HUP").then_some(()));
    }
    host.ok(&["kill", "--signal", "15", "web"]);
    assert_eq!(host.ok(&["wait", "web"]), "9\n");
    let unheard = host.run(&["kill", "-s", "USR1", "db"]);
    assert!(unheard.code == 0 && unheard.err.contains("no handler for SIGUSR1"), "{unheard:?}");
    assert_eq!(host.ok(&["kill", "db"]), "db\n");
    assert_eq!(host.ok(&["wait", "db"]), "137\n");
    assert!(host.run(&["kill", "db"]).err.contains("its first process has ended"));
}

#[test]
#[ignore = "needs root: make test"]
fn wait_tells_the_exit_code_also_of_one_that_removes_itself_or_has_ended_before() {
    let host = Host::new("wait");
    let soon = within(Duration::from_millis(300)).as_secs_f32();
    let run = |options: &[&str], name: &str, script: &str| {
        host.ok(&[&["run", "-d"], options, &["img", name, "--", "bash", "-c", script]].concat());
    };
    run(&[], "first", &format!("sleep {soon}; exit 3"));
    run(&[], "second", "exit 4");
    assert_eq!(host.ok(&["wait", "first", "second"]), "3\n4\n");
    assert_eq!(host.ok(&["wait", "first"]), "3\n", "again");
    run(&["--rm"], "gone", &format!("sleep {soon}; exit 5"));
    assert_eq!(host.ok(&["wait", "gone"]), "5\n");
    // Several at once, and stopped meanwhile.
    host.start("web");
    let waiting: Vec<_> = (0..5).map(|_| host.piped(&["-q", "wait", "web"])).collect();
    // They are there when each watches the folder.
    for child in &waiting {
        let open = format!("/proc/{}/fd", child.id());
        wait_for(|| {
            let targets = fs::read_dir(&open).ok()?.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
            let pidfds = targets.filter(|target| target.to_string_lossy().contains("[pidfd]")).count();
            (pidfds == 2).then_some(())
        });
    }
    host.ok(&["stop", "-t", "0", "web"]);
    for child in waiting {
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "137\n", "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(host.run(&["wait", "nobody"]).code, 125);
}

#[test]
#[ignore = "needs root: make test"]
fn a_monitor_that_comes_late_touches_no_later_container_of_the_same_name() {
    let host = Host::new("late");
    let parent_of = |pid: &str| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
        nix::unistd::Pid::from_raw(line.trim().parse().unwrap())
    };
    let signal = |to, signal| nix::sys::signal::kill(to, signal).unwrap();
    for options in [&["run", "-d"][..], &["run", "-d", "--rm"]] {
        host.ok(&[options, &["img", "web", "--", "sleep", "infinity"]].concat());
        let known: serde_json::Value = serde_json::from_str(&host.ok(&["inspect", "web"])).unwrap();
        let monitor = parent_of(&known["init"]["pid"].to_string());
        signal(monitor, nix::sys::signal::Signal::SIGSTOP);
        host.ok(&["stop", "-t", "0", "web"]);
        host.ok(&[
            "run",
            "-d",
            "img",
            "web",
            "--",
            "bash",
            "-c",
            "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done",
        ]);
        wait_for(|| host.ok(&["logs", "web"]).contains("ready").then_some(()));
        signal(monitor, nix::sys::signal::Signal::SIGCONT);
        wait_for(|| (!Path::new(&format!("/proc/{monitor}")).exists()).then_some(()));
        assert!(host.ok(&["ps"]).contains("running"), "{options:?}");
        host.ok(&["kill", "-s", "TERM", "web"]);
        assert_eq!(host.ok(&["wait", "web"]), "3\n", "{options:?}");
        host.ok(&["rm", "web"]);
    }
}

#[test]
#[ignore = "needs root: make test"]
fn rm_removes_what_has_ended_and_what_runs_only_by_force() {
    let host = Host::new("rm");
    let before = host.snapshot();
    host.run(&["run", "img", "ended", "--", "true"]);
    host.start("web");
    let outcome = host.run(&["-q", "rm", "web", "ended"]);
    assert_eq!((outcome.code, outcome.out.as_str()), (125, "ended succesfully removed\n"), "{outcome:?}");
    assert!(
        outcome.err.contains("cannot remove container web: its first process runs; `conductor stop web`"),
        "{outcome:?}"
    );
    let start = Instant::now();
    assert_eq!(host.ok(&["rm", "-f", "web"]), "web succesfully removed\n");
    assert!(start.elapsed() < Duration::from_secs(9), "not the ten seconds of stop: {:?}", start.elapsed());
    assert_eq!(host.snapshot(), before);
    // A damaged record is no reason to keep it.
    host.run(&["run", "img", "ended", "--", "true"]);
    fs::write(host.container("ended").join("record.json"), "{").unwrap();
    assert_eq!(host.ok(&["remove", "ended"]), "ended succesfully removed\n");
    assert_eq!(host.snapshot(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn stats_show_usage_once_or_until_no_container_is_left() {
    let host = Host::new("stats");
    host.ok(&["run", "-d", "img", "busy", "--", "bash", "-c", "while :; do :; done"]);
    host.ok(&["run", "-d", "--memory", "64m", "--pids-limit", "50", "img", "idle", "--", "sleep", "infinity"]);
    let usages: serde_json::Value =
        serde_json::from_str(&host.run(&["stats", "--no-stream", "--format", "json"]).out).unwrap();
    let of = |name: &str| usages.as_array().unwrap().iter().find(|usage| usage["name"] == name).unwrap().clone();
    let (busy, idle) = (of("busy"), of("idle"));
    assert!(busy["cpu_percent"].as_f64().unwrap() > 10.0 * idle["cpu_percent"].as_f64().unwrap() + 5.0, "{usages}");
    assert_eq!(
        (&idle["memory_limit_bytes"], &idle["processes_limit"], &idle["processes"]),
        (&(64 << 20).into(), &50.into(), &1.into())
    );
    for usage in [&busy, &idle] {
        assert!((100_000..64 << 20).contains(&usage["memory_bytes"].as_u64().unwrap()), "{usages}");
    }
    let table = host.ok(&["stats", "--no-stream", "idle"]);
    assert!(table.starts_with("Name ") && table.contains("1/50") && table.lines().count() == 2, "{table}");
    // Streaming: a table each second, and an end.
    let mut stream = host.piped(&["-q", "stats", "busy"]);
    let mut said = BufReader::new(stream.stdout.take().unwrap());
    let mut text = String::new();
    while text.matches("Name ").count() < 2 {
        assert!(said.read_line(&mut text).unwrap() > 0, "it ended: {text}");
    }
    host.ok(&["kill", "busy"]);
    said.read_to_string(&mut text).unwrap();
    assert!(stream.wait().unwrap().success());
    assert!(text.matches("\nbusy ").count() >= 1, "{text}");
    assert!(!text.contains('\x1b'), "no terminal is there to be cleared");
}

#[test]
#[ignore = "needs root: make test"]
fn quiet_lists_are_names_only_and_go_into_other_commands() {
    let host = Host::new("quiet");
    host.start("web");
    host.start("db");
    assert_eq!(host.run(&["ps", "-q"]).out, "db\nweb\n");
    assert_eq!(host.run(&["-q", "ps"]).out, "db\nweb\n");
    // As where an alias has the first one.
    assert_eq!(host.run(&["-q", "-q", "ps", "-q"]).out, "db\nweb\n");
    assert_eq!(host.run(&["images", "--quiet"]).out, "img\n");
    host.ok(&["rm", "-f", "web", "db"]);
    assert_eq!(host.run(&["ps", "-q"]).out, "", "none is nothing");
}

/// A folder in a container with all that can be met there.
const ZOO: &str = "mkdir -p /zoo/folder/empty; echo text > /zoo/file; chmod 4751 /zoo/file; ln -s file /zoo/link; \
    ln -s /etc /zoo/out; ln /zoo/file /zoo/hard; mkfifo /zoo/pipe; truncate -s 4G /zoo/sparse; echo end >> /zoo/sparse; \
    touch -d @1000000000 /zoo/old; echo > $'/zoo/new\\nline'; echo deep > /zoo/folder/deep; chown 1000:1000 /zoo/folder/deep";

#[test]
#[ignore = "needs root: make test"]
fn cp_takes_out_all_that_has_content_and_names_what_has_none() {
    let host = Host::new("cp-out");
    host.start("web");
    host.ok(&["exec", "web", "--", "bash", "-c", ZOO]);
    let here = host.store.join("here");
    fs::create_dir(&here).unwrap();
    let target = here.to_str().unwrap();
    let outcome = host.run(&["-q", "cp", "web:/zoo", target]);
    assert_eq!((outcome.code, outcome.err.lines().count()), (125, 1), "{outcome:?}");
    assert!(
        outcome.err.contains("cannot copy web:/zoo/pipe: it is a named pipe, which cannot be copied"),
        "{outcome:?}"
    );
    let zoo = here.join("zoo");
    let about = |name: &str| fs::symlink_metadata(zoo.join(name)).unwrap();
    assert_eq!(fs::read_to_string(zoo.join("file")).unwrap(), "text\n");
    assert_eq!(
        about("file").permissions().mode() & 0o7777,
        0o751,
        "nobody's file becomes a program with root's rights"
    );
    assert_eq!(fs::read_link(zoo.join("link")).unwrap(), Path::new("file"));
    assert_eq!(fs::read_link(zoo.join("out")).unwrap(), Path::new("/etc"), "copied, not followed");
    assert_eq!(fs::read_to_string(zoo.join("hard")).unwrap(), "text\n");
    assert!(about("sparse").len() > 4 << 30 && about("sparse").blocks() < 100, "{:?}", about("sparse"));
    assert_eq!(about("old").mtime(), 1_000_000_000);
    assert_eq!(fs::read_to_string(zoo.join("new\nline")).unwrap(), "\n");
    assert_eq!(
        (fs::read_to_string(zoo.join("folder/deep")).unwrap().as_str(), about("folder/deep").uid()),
        ("deep\n", 0)
    );
    assert!(zoo.join("folder/empty").is_dir());
    // Of a container that has ended, too; and the names of cp(1).
    host.ok(&["kill", "web"]);
    host.ok(&["wait", "web"]);
    host.ok(&["cp", "web:/zoo/file", &format!("{target}/renamed")]);
    host.ok(&["cp", "web:zoo/folder/.", &format!("{target}/contents")]);
    host.ok(&["cp", "web:/zoo/folder", &format!("{target}/contents")]);
    for file in ["renamed", "contents/deep", "contents/folder/deep"] {
        assert!(here.join(file).is_file(), "{file}");
    }
    for (from, to, why) in [
        ("web:/nowhere", "x", "web:/nowhere: No such file"),
        ("web:/zoo/file", "no-folder/", "(ENOENT)"),
        ("web:/zoo/file", "no-folder/x", "(ENOENT)"),
        ("web:/zoo", "renamed", "(ENOTDIR)"),
        ("nobody:/zoo", "x", "cannot find container nobody"),
    ] {
        let refused = host.run(&["cp", from, &format!("{target}/{to}")]);
        assert!(refused.code == 125 && refused.err.contains(why), "{from} {to}: {refused:?}");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn cp_puts_in_what_is_named_and_a_link_inside_leads_no_copy_out() {
    let host = Host::new("cp-in");
    let (here, victim) = (host.store.join("here"), host.store.join("victim"));
    fs::create_dir_all(here.join("site/images")).unwrap();
    fs::write(here.join("site/index"), "page\n").unwrap();
    fs::write(here.join("site/images/one"), "1").unwrap();
    fs::set_permissions(here.join("site/index"), fs::Permissions::from_mode(0o4640)).unwrap();
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("file"), "of the host").unwrap();
    host.start("web");
    let links = format!(
        "ln -s {0} /out; ln -s {0}/file /file; mkdir /real; ln -s /real /about; mkdir -p /t/site; ln -s {0} /t/site/images",
        victim.display()
    );
    host.ok(&["exec", "web", "--", "bash", "-c", &links]);
    let site = here.join("site");
    let site = site.to_str().unwrap();
    host.ok(&["cp", site, "web:/srv"]);
    host.ok(&["cp", &format!("{site}/."), "web:/srv/flat"]);
    host.ok(&["cp", &format!("{site}/index"), "web:/about/"]);
    let seen = host.ok(&[
        "exec",
        "web",
        "--",
        "bash",
        "-c",
        "cat /srv/site/index /srv/flat/index /real/index; stat -c %a /srv/site/index",
    ]);
    assert!(seen.ends_with("page\npage\npage\n640\n"), "{seen}");
    // Into what looks like a folder of the host's, over what looks like its file, and through a link in the folder that is met.
    for (from, to) in [("index", "web:/out/"), ("index", "web:/out/new"), ("", "web:/t")] {
        let refused = host.run(&["cp", &format!("{site}/{from}"), to]);
        assert_eq!(refused.code, 125, "{to}: {refused:?}");
    }
    host.ok(&["cp", &format!("{site}/index"), "web:/file"]);
    assert_eq!(fs::read_to_string(victim.join("file")).unwrap(), "of the host");
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 1);
    // A volume is part of what is seen.
    let shared = host.store.join("shared");
    fs::create_dir(&shared).unwrap();
    host.ok(&["run", "-d", "-v", &format!("{}:/v", shared.display()), "img", "db", "--", "sleep", "infinity"]);
    host.ok(&["cp", &format!("{site}/index"), "db:/v/"]);
    assert_eq!(fs::read_to_string(shared.join("index")).unwrap(), "page\n");
    // A file that is mounted is written to; what is mounted on a name is not taken away with it, as by a link in its place.
    host.ok(&["cp", &format!("{site}/index"), "db:/etc/hosts"]);
    assert_eq!(host.ok(&["-q", "exec", "db", "--", "cat", "/etc/hosts"]), "page\n");
    std::os::unix::fs::symlink("nowhere", here.join("link")).unwrap();
    let refused = host.run(&["cp", here.join("link").to_str().unwrap(), "db:/etc/hosts"]);
    assert!(refused.code == 125 && refused.err.contains("db:/etc/hosts: Device or resource busy"), "{refused:?}");
    assert!(host.ok(&["exec", "db", "--", "grep", "-c", " /etc/hosts ", "/proc/self/mountinfo"]).ends_with("\n1\n"));
    // Without end: the root into itself.
    let root = host.container("web").join("rootfs");
    host.run(&["cp", root.to_str().unwrap(), "web:/copy"]);
    assert!(!root.join("copy/copy/copy").exists());
}

/// CVE-2018-15664: a path is swapped for a link to the host's files while it is copied.
#[test]
#[ignore = "needs root: make test"]
fn a_path_that_is_swapped_while_it_is_copied_gives_nothing_of_the_hosts_away() {
    let host = Host::new("cp-race");
    let secret = host.store.join("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("file"), "SECRET").unwrap();
    let swap = format!(
        "mkdir -p /d/sub; echo mine > /d/sub/file; ln -s {} /d/link; echo ready; cd /d; \
         while :; do mv -T sub aside; mv -T link sub; mv -T sub link; mv -T aside sub; done",
        secret.display()
    );
    host.ok(&["run", "-d", "img", "swapper", "--", "bash", "-c", &swap]);
    wait_for(|| host.ok(&["logs", "swapper"]).contains("ready").then_some(()));
    let (mut got, own) = (0, host.store.join("own"));
    fs::write(&own, "inward").unwrap();
    for round in 0..60 {
        let target = host.store.join(format!("out-{round}"));
        for from in ["swapper:/d/sub/file", "swapper:/d"] {
            host.run(&["cp", from, target.to_str().unwrap()]);
            let found = Command::new("grep").args(["-rs", "SECRET"]).arg(&target).output().unwrap();
            assert!(found.stdout.is_empty(), "{}", String::from_utf8_lossy(&found.stdout));
            got += usize::from(target.exists());
            let _ = fs::remove_file(&target);
            let _ = fs::remove_dir_all(&target);
        }
        host.run(&["cp", own.to_str().unwrap(), "swapper:/d/sub/file"]);
        assert_eq!(fs::read_to_string(secret.join("file")).unwrap(), "SECRET");
    }
    assert!(got > 20, "most copies find something: {got}");
    host.ok(&["stop", "-t", "0", "swapper"]);
}

#[test]
#[ignore = "needs root: make test"]
fn commit_makes_an_image_of_all_that_was_changed_deletions_owners_and_links_too() {
    let host = Host::new("commit");
    host.ok(&["run", "-d", "-w", "/srv", "-e", "A=1", "img", "eg", "--", "sleep", "infinity"]);
    let change = format!(
        "{ZOO}; rm /etc/nsswitch.conf; rm -r /home/student; mkdir /home/student; touch /home/student/new; mv /usr/share /usr/moved"
    );
    host.ok(&["exec", "eg", "--", "bash", "-c", &change]);
    assert_eq!(host.ok(&["commit", "eg", "snapshot"]), "Built image snapshot from container eg\n");
    // The container goes on on its own.
    host.ok(&["exec", "eg", "--", "bash", "-c", "echo later > /zoo/later; echo other > /zoo/file"]);
    host.ok(&["stop", "-t", "0", "eg"]);
    let look = "ls /etc/nsswitch.conf /zoo/later 2> /dev/null; ls -A /home/student; cat /zoo/file; stat -c '%a %h' /zoo/hard; \
                stat -c %u /zoo/folder/deep; test -p /zoo/pipe && echo pipe; ls -d /usr/moved; pwd; echo $A";
    let seen = host.run(&["-q", "run", "--rm", "snapshot", "again", "--", "bash", "-c", look]);
    assert_eq!(seen.out, "new\ntext\n4751 2\n1000\npipe\n/usr/moved\n/srv\n1\n", "{seen:?}");
    // Once more on top, and the first stays as it was.
    host.ok(&["run", "-d", "snapshot", "eg", "--", "sleep", "infinity"]);
    host.ok(&["exec", "eg", "--", "rm", "-r", "/zoo"]);
    host.ok(&["commit", "eg", "without"]);
    host.ok(&["stop", "-t", "0", "eg"]);
    let there = |image: &str| host.run(&["-q", "run", "--rm", image, "again", "--", "test", "-d", "/zoo"]).code;
    assert_eq!((there("without"), there("snapshot")), (1, 0));
    host.ok(&["run", "-d", "-u", "65534", "img", "eg", "--", "sleep", "infinity"]);
    host.ok(&["commit", "eg", "of-a-user"]);
    host.ok(&["rm", "-f", "eg"]);
    assert_eq!(host.run(&["-q", "run", "--rm", "of-a-user", "again", "--", "id", "-u"]).out, "65534\n");
    host.ok(&["rmi", "without", "snapshot", "of-a-user"]);
    assert_eq!(host.run(&["commit", "nobody", "x"]).code, 125);
}

#[test]
#[ignore = "needs root: make test"]
fn an_image_lives_on_when_the_one_it_was_made_from_is_removed() {
    let host = Host::new("rmi-base");
    host.ok(&["run", "-d", "img", "eg", "--", "sleep", "infinity"]);
    host.ok(&["commit", "eg", "made"]);
    let used = host.run(&["rmi", "img"]);
    assert!(used.code == 125 && used.err.contains("containers use it: eg"), "{used:?}");
    host.ok(&["stop", "-t", "0", "eg"]);
    host.ok(&["rmi", "img"]);
    // Its layers are still used, and stay; this store's cache is shared with other tests, so that is looked at, not tried.
    let record: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(host.store.join(".images/made/record.json")).unwrap()).unwrap();
    assert_eq!(record["layers"].as_array().unwrap().len(), 2);
    assert_eq!(host.run(&["run", "--rm", "made", "eg", "--", "true"]).code, 0);
}

#[test]
#[ignore = "needs root: make test"]
fn a_name_or_word_that_is_nearly_right_is_guessed() {
    let host = Host::new("near");
    host.start("webserver");
    for (arguments, guess) in [
        (&["exec", "webservr", "--", "true"][..], "did you mean webserver?"),
        (&["stop", "wbeserver"], "did you mean webserver?"),
        (&["run", "imh", "x"], "did you mean img?"),
        (&["stpo", "webserver"], "'stop'"),
        (&["ps", "--formt", "json"], "'--format'"),
        (&["run", "--cap-add", "NET_ROW", "img", "x"], "did you mean CAP_NET_RAW?"),
        (&["kill", "-s", "TREM", "webserver"], "did you mean SIGTERM?"),
    ] {
        let refused = host.run(arguments);
        assert!(refused.code == 125 && refused.err.contains(guess), "{arguments:?}: {refused:?}");
    }
    let stranger = host.run(&["stop", "other"]);
    assert!(!stranger.err.contains("did you mean"), "{stranger:?}");
}

#[test]
fn every_command_has_help_with_an_example_a_manual_page_and_completions() {
    let conductor = |arguments: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_conductor")).args(arguments).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let help = conductor(&["--help"]);
    let listed = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let commands: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.len() >= 23, "{commands:?}");
    let manual = |words: &[&str]| conductor(&[&["manual"], words].concat()).replace("\\-", "-").replace("\\*(Aq", "'");
    let whole = manual(&[]);
    for command in commands.iter().filter(|command| **command != "help") {
        let help = conductor(&[command, "--help"]);
        assert!(help.contains("Example"), "{command}: {help}");
        let first = help.lines().next().unwrap();
        let page = manual(&[command]);
        // The page says what the help says, and the whole's page names it.
        for part in [first, &format!("conductor-{command}"), ".SH EXAMPLES\n", ".SH \"EXIT STATUS\"\n"] {
            assert!(page.contains(part), "{command}: {part}: {page}");
        }
        assert!(whole.contains(&format!("conductor-{command}(8)")), "{command}: {whole}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = conductor(&["completions", shell]);
        for word in commands.iter().chain(&["pids-limit", "cap-add"]) {
            assert!(script.contains(word), "{shell}: {word}");
        }
        assert!(!script.contains("CS695"), "nothing but the script");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_folder_of_links_on_the_host_is_copied_by_what_it_is() {
    let host = Host::new("cp-links");
    let here = host.store.join("here");
    fs::create_dir(&here).unwrap();
    symlink("/etc/shadow", here.join("link")).unwrap();
    host.start("web");
    host.ok(&["cp", here.to_str().unwrap(), "web:/here"]);
    assert!(host.ok(&["exec", "web", "--", "readlink", "/here/link"]).ends_with("/etc/shadow\n"));
    assert!(!host.ok(&["exec", "web", "--", "ls", "-l", "/here"]).contains("root shadow"));
}
