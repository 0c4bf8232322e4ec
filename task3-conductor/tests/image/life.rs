//! Images from build to removal.

use std::fs;
use std::process::Command;

use crate::build_test::BuildTest;

#[test]
#[ignore = "needs root: make test"]
fn an_image_of_the_hosts_programs_has_what_the_lessons_use() {
    let build_test = BuildTest::new("host-image");
    build_test.build_log("FROM host\n");
    let looks = "ps -e | wc -l; ip -o link show lo | cut -d: -f2; ping -c1 -W1 127.0.0.1 | grep -c '1 received'; \
                 stat -c '%a %U' / /tmp /root; id -un; setpriv --reuid student --regid student --clear-groups id -u; grep -c . /etc/passwd; top -bn1 | head -1 | cut -c1-3";
    // ps counts its header, bash, itself and wc.
    assert_eq!(build_test.inside(looks), "4\n lo\n1\n755 root\n1777 root\n700 root\nroot\n1000\n4\ntop\n");
}

#[test]
#[ignore = "needs root: make test"]
fn whatever_the_callers_umask_an_image_is_for_all_its_users() {
    let build_test = BuildTest::with_own_cache("umask");
    build_test.file("tree/file", "x");
    let path =
        build_test.file("Conductorfile", "FROM host\nCOPY tree /new/tree\nWORKDIR /work/here\nRUN mkdir /run/x\n");
    let mut command = Command::new("bash");
    command.args(["-c", "umask 077; \"$@\"", "bash", env!("CARGO_BIN_EXE_conductor"), "--root"]);
    command.arg(&build_test.host.store).args(["build", "made"]).arg(path);
    assert!(command.output().unwrap().status.success());
    let modes = build_test.inside("stat -c %a /etc/passwd /usr/lib64 /new /new/tree /new/tree/file /work/here /run/x");
    assert_eq!(modes, "644\n755\n755\n755\n644\n755\n755\n");
}

#[test]
#[ignore = "needs root: make test"]
fn settings_of_a_conductorfile_are_those_of_its_containers_and_of_images_made_from_it() {
    let build_test = BuildTest::new("settings");
    build_test
        .build_log("FROM host\nENV A=1 B=\"x y\"\nENV PATH=/opt:$PATH\nWORKDIR /work\nCMD echo $A $B $PATH $PWD\n");
    let expected = "1 x y /opt: /work\n";
    assert_eq!(
        build_test
            .host
            .ok(&["run", "--rm", "made", "eg"])
            .replace("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", ""),
        expected
    );
    let path = build_test.file("Second", "FROM made\nENV A=2\n");
    build_test.host.ok(&["build", "second", path.to_str().unwrap()]);
    assert!(build_test.host.ok(&["run", "--rm", "second", "eg"]).starts_with("2 x y "));
    assert_eq!(build_test.host.ok(&["run", "--rm", "second", "eg", "--", "printenv", "A"]), "2\n");
}

#[test]
#[ignore = "needs root: make test"]
fn a_run_line_is_as_confined_as_a_container_and_its_output_goes_to_stderr() {
    let build_test = BuildTest::with_own_cache("confined");
    let outcome = build_test.build(
        "FROM host\nRUN grep -E 'Cap(Eff|Bnd)|NoNewPrivs|Seccomp:' /proc/self/status > /status; ps -e | wc -l > /count; \
         ls /dev > /devices; echo said; read x || echo nothing to read\nRUN [\"touch\", \"/a b\"]\n",
    );
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert_eq!(outcome.out, "CS695 Conductor that manages containers\nBuilt image made from host\n");
    assert!(outcome.err.contains("\nsaid\nnothing to read\n"), "{}", outcome.err);
    let status = "grep -E 'Cap(Eff|Bnd)|NoNewPrivs|Seccomp:' /proc/self/status";
    assert_eq!(build_test.inside("cat /status"), build_test.inside(status));
    assert_eq!(
        build_test.inside("cat /count; ls '/a b'; grep -cE 'vda|kvm|mem|kmsg' /devices || true"),
        "4\n/a b\n0\n"
    );
}

#[test]
#[ignore = "needs root: make test"]
fn the_two_loops_of_the_assignment_leave_nothing() {
    let build_test = BuildTest::with_own_cache("reset");
    let store = build_test.host.store.display();
    build_test.host.ok(&["build", "--from", "host", "a-first"]);
    build_test.build_log("FROM a-first\nENV X=1\n");
    build_test.start("a-first", "one");
    build_test.start("made", "two");
    // As the assignment writes them. The first also asks to stop what the banner and the header begin with.
    let script = format!(
        "conductor() {{ {} --root {store} \"$@\"; }}
         conductor ps | grep -v 'No containers' | while read name date; do conductor stop \"$name\"; done
         conductor images | tail -n +3 | while read name size date; do conductor rmi \"$name\"; done
         conductor ps; conductor images",
        env!("CARGO_BIN_EXE_conductor")
    );
    let done = Command::new("bash").args(["-c", &script]).output().unwrap();
    let out = String::from_utf8_lossy(&done.stdout);
    for line in [
        "one succesfully removed",
        "two succesfully removed",
        "a-first succesfully removed",
        "made succesfully removed",
        "No containers found",
        "No images found",
    ] {
        assert_eq!(out.matches(line).count(), 1, "{line}: {done:?}");
    }
    assert!(fs::read_dir(build_test.host.store.join(".images")).unwrap().next().is_none());
}

#[test]
#[ignore = "needs root: make test"]
fn rmi_refuses_while_a_container_uses_it_and_names_the_users() {
    let build_test = BuildTest::new("rmi");
    build_test.build_log("FROM host\n");
    build_test.start("made", "one");
    build_test.host.run(&["run", "made", "two", "--", "true"]);
    let refused = build_test.host.run(&["rmi", "made"]);
    assert_eq!(refused.code, 125);
    assert!(refused.err.contains("containers use it: one, two; `conductor stop one two` first"), "{refused:?}");
    assert!(build_test.has_image());
    build_test.host.ok(&["stop", "one"]);
    build_test.host.ok(&["stop", "two"]);
    assert_eq!(build_test.host.ok(&["rmi", "made"]), "made succesfully removed\n");
    let again = build_test.host.run(&["rmi", "made"]);
    assert!(again.code == 125 && again.err.contains("it does not exist"), "{again:?}");
}

#[test]
#[ignore = "needs root: make test"]
fn images_are_listed_in_columns_and_as_json() {
    let build_test = BuildTest::with_own_cache("list");
    assert_eq!(build_test.host.ok(&["images"]), "No images found\n");
    assert_eq!(build_test.host.run(&["images", "--format", "json"]).out, "[]\n");
    build_test.file("large", vec![1; 3 << 20]);
    build_test.build_log("FROM scratch\nCOPY large /large\n");
    let listed = build_test.host.ok(&["images"]);
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines[0], "Name                 Size       Date");
    assert!(lines[1].starts_with("made                 3.1M       20"), "{listed}");
    let json: serde_json::Value =
        serde_json::from_str(&build_test.host.run(&["images", "--format", "json"]).out).unwrap();
    assert_eq!(json[0]["name"], "made");
    assert_eq!(json[0]["from"], "scratch");
    assert!(json[0]["size_bytes"].as_u64().unwrap() > 3 << 20);
    assert_eq!(json[0]["layers"].as_array().unwrap().len(), 2);
}

#[test]
#[ignore = "needs root: make test"]
fn an_image_of_a_hundred_and_twenty_layers_works() {
    let build_test = BuildTest::new("many");
    let lines: String = (0..120).map(|n| format!("WORKDIR /deep/{n}\n")).collect();
    build_test.build_log(&format!("FROM host\n{lines}"));
    assert_eq!(build_test.inside("ls /deep | wc -l; pwd"), "120\n/deep/119\n");
}

/// fsconfig(2) takes 255 letters, and a page does not hold 240 paths.
#[test]
#[ignore = "needs root: make test"]
fn a_store_with_a_long_path_holds_as_many_layers_as_any() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("0".repeat(200)).join("1".repeat(200));
    std::fs::create_dir_all(&store).unwrap();
    let lines: String = (0..240).map(|n| format!("WORKDIR /{n}\n")).collect();
    let file = folder.path().join("Conductorfile");
    std::fs::write(&file, format!("FROM scratch\n{lines}")).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_conductor"));
    let output = command.arg("--root").arg(&store).args(["build", "many"]).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
