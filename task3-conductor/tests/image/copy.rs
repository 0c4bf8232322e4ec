//! COPY: exactly what is there, from nowhere else, to nowhere else.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::build_test::{BuildTest, names};

#[test]
#[ignore = "needs root: make test"]
fn files_arrive_with_names_modes_times_and_contents_and_belong_to_root() {
    let build_test = BuildTest::new("copy");
    let odd = ["a b", "é😀", "-x", "new\nline", "quote'\""];
    for name in odd {
        let path = build_test.file(&format!("tree/{name}"), name);
        std::os::unix::fs::chown(&path, Some(1000), Some(1000)).unwrap();
    }
    build_test.file("tree/empty", "");
    build_test.file("tree/deep/er/x", "x");
    let large = build_test.file("tree/large", vec![7; 5 << 20]);
    fs::set_permissions(&large, fs::Permissions::from_mode(0o4751)).unwrap();
    fs::File::options().write(true).open(&large).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    fs::set_permissions(build_test.context.path().join("tree/deep"), fs::Permissions::from_mode(0o1770)).unwrap();
    symlink("/etc/passwd", build_test.context.path().join("tree/link")).unwrap();
    build_test.build_log("FROM host\nCOPY tree /tree\n");
    for name in odd {
        assert_eq!(build_test.inside(&format!("cat -- '/tree/{}'", name.replace('\'', "'\\''"))), name);
    }
    // Not set-user-ID: it was another user's file before.
    assert_eq!(build_test.inside("stat -c '%a %Y %s %u:%g' /tree/large"), "751 0 5242880 0:0\n");
    assert_eq!(build_test.inside("stat -c '%a %u' /tree/deep /tree/empty; cat /tree/deep/er/x"), "1770 0\n644 0\nx");
    assert_eq!(build_test.inside("readlink /tree/link; stat -c %u /tree/-x"), "/etc/passwd\n0\n");
    let outside = Command::new("sha256sum").stdin(fs::File::open(&large).unwrap()).output().unwrap();
    assert_eq!(build_test.inside("sha256sum < /tree/large"), String::from_utf8(outside.stdout).unwrap());
}

#[test]
#[ignore = "needs root: make test"]
fn the_destination_is_a_file_or_a_folder_as_it_is_written() {
    let build_test = BuildTest::new("destination");
    build_test.file("a", "A");
    build_test.file("tree/b", "B");
    let text = "FROM host\nCOPY a /new\nCOPY a /folder/\nCOPY a /etc\nCOPY tree /etc\nCOPY tree/b /bin/b\n\
                WORKDIR /w/x\nCOPY a .\nCOPY tree ../y\nCOPY . /all\nCOPY a /all/a\n";
    build_test.build_log(text);
    let looks = "cat /new /folder/a /etc/a /etc/b /usr/bin/b /w/x/a /w/y/b /all/a /all/tree/b; stat -c %a /folder /etc";
    assert_eq!(build_test.inside(looks), "AAABBABAB755\n755\n");
    assert_eq!(build_test.inside("ls -d /bin /etc/passwd; test -L /bin"), "/bin\n/etc/passwd\n");
}

#[test]
#[ignore = "needs root: make test"]
fn what_cannot_be_copied_is_refused_with_line_and_reason() {
    let build_test = BuildTest::with_own_cache("refuse");
    build_test.file("a", "A");
    build_test.file("with/file", "x");
    let context = build_test.context.path();
    symlink("/etc/shadow", context.join("link")).unwrap();
    symlink("/etc", context.join("folder")).unwrap();
    symlink("b", context.join("loop")).unwrap();
    symlink("loop", context.join("b")).unwrap();
    for (script, name) in [("mkfifo", "pipe/p"), ("mknod", "device/null")] {
        fs::create_dir_all(context.join(name).parent().unwrap()).unwrap();
        let mut command = Command::new(script);
        command.arg(context.join(name));
        if script == "mknod" {
            command.args(["c", "1", "3"]);
        }
        assert!(command.status().unwrap().success());
    }
    for (line, reason) in [
        ("COPY gone /x", "cannot read gone: No such file or directory (ENOENT)"),
        ("COPY a/x /x", "cannot read a/x: Not a directory"),
        ("COPY link /x", "cannot copy link: it is, or is behind, a symbolic link"),
        ("COPY folder/shadow /x", "cannot copy folder/shadow: it is, or is behind, a symbolic link"),
        ("COPY loop /x", "it is, or is behind, a symbolic link"),
        ("COPY ../../etc/shadow /x", "leads out of the Conductorfile's folder"),
        ("COPY /etc/shadow /x", "is an absolute path"),
        ("COPY pipe /x", "cannot copy pipe/p: it is a named pipe"),
        ("COPY device/null /x", "it is a device"),
        ("COPY a /etc/passwd/x", "Not a directory"),
        ("COPY with /etc/passwd", "Not a directory"),
    ] {
        let told = build_test.refusal(&format!("FROM host\n{line}\n"));
        assert!(told.contains("Conductorfile:2:") && told.contains(reason), "{line}: {told}");
        assert!(!build_test.has_image(), "{line}");
    }
    assert_eq!(build_test.cache("building"), Vec::<String>::new());
}

#[test]
#[ignore = "needs root: make test"]
fn links_in_the_image_never_lead_a_copy_out_of_it() {
    let build_test = BuildTest::new("escape");
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("canary"), "the host's").unwrap();
    build_test.file("canary", "copied");
    build_test.file("tree/canary", "copied");
    let target = outside.path().display();
    let links = format!(
        "RUN ln -s {target} /absolute && ln -s ../../../../..{target} /relative && \
         ln -s {target}/canary /file && ln -s /proc/self/root{target} /magic"
    );
    for destination in ["/absolute/canary", "/relative/canary", "/file", "/magic/canary", "/absolute/", "/absolute"] {
        for source in ["canary", "tree"] {
            // Whether it is refused or lands in the image: the host's file is not touched.
            build_test.build(&format!("FROM host\n{links}\nCOPY {source} {destination}\n"));
            assert_eq!(fs::read_to_string(outside.path().join("canary")).unwrap(), "the host's", "{destination}");
            assert_eq!(names(outside.path()), ["canary"], "{destination}");
        }
    }
    // The same place in the image is another one: where the link leads inside, there it lands.
    build_test.build_log(&format!("FROM host\nRUN mkdir -p {target}\n{links}\nCOPY canary /absolute/canary\n"));
    assert_eq!(build_test.inside(&format!("cat {target}/canary")), "copied");
    assert!(Path::new(&outside.path().join("canary")).exists());
}

#[test]
#[ignore = "needs root: make test"]
fn the_store_is_excluded_from_a_context() {
    let build_test = BuildTest::with_own_cache("own-store");
    build_test.file("app/main", "x");
    let store = build_test.context.path().join("state");
    let build = |text: &str| {
        let path = build_test.file("Conductorfile", text);
        let mut command = Command::new(env!("CARGO_BIN_EXE_conductor"));
        let output = command.arg("--root").arg(&store).args(["build", "made"]).arg(path).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(build("FROM host\nCOPY . /app\n").0, Some(0));
    // What would stop a copy, and what would grow.
    let container = store.join(".containers/q/upper");
    fs::create_dir_all(&container).unwrap();
    assert!(Command::new("mkfifo").arg(container.join("pipe")).status().unwrap().success());
    for _ in 0..2 {
        let (code, said) = build("FROM host\nCOPY . /app\nRUN test -f /app/app/main && test ! -e /app/state/.cache\n");
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("COPY skips state/.containers: it is conductor's own store"), "{said}");
    }
    let (code, said) = build("FROM host\nCOPY state/.containers/q /app\n");
    assert!(code == Some(125) && said.contains("it is in conductor's own store"), "{said}");
}

#[test]
#[ignore = "needs root: make test"]
fn holes_and_hard_links_stay_what_they_are_and_paths_may_be_of_any_length() {
    let build_test = BuildTest::new("sparse");
    let large = fs::File::create(build_test.file("tree/hole", "")).unwrap();
    large.set_len(2 << 30).unwrap();
    build_test.file("tree/a", "x");
    fs::hard_link(build_test.context.path().join("tree/a"), build_test.context.path().join("tree/b")).unwrap();
    let deep = "d=$(printf '%0200d' 0); for _ in $(seq 25); do mkdir $d && cd $d; done; echo bottom > file";
    let script = |folder: &str| format!("mkdir -p {folder} && cd {folder} && {deep}");
    let tree = build_test.context.path().join("tree");
    assert!(Command::new("bash").args(["-c", &script(tree.to_str().unwrap())]).status().unwrap().success());
    let begun = std::time::Instant::now();
    build_test.build_log(&format!(
        "FROM host\nCOPY tree /tree\nRUN bash -c '{}'\n",
        script("/run-made").replace('\'', "'\\''")
    ));
    assert!(begun.elapsed() < testlab::host::within(std::time::Duration::from_secs(15)), "{:?}", begun.elapsed());
    let looks = "stat -c '%s %b' /tree/hole; stat -c %h /tree/a /tree/b; \
                 for top in /tree /run-made; do cd $top; while cd 0* 2> /dev/null; do :; done; cat file; done";
    assert_eq!(build_test.inside(looks), "2147483648 0\n2\n2\nbottom\nbottom\n");
    // And what a container wrote becomes a layer.
    build_test.host.ok(&["run", "img", "deep", "--", "bash", "-c", &script("/deep")]);
    build_test.host.ok(&["commit", "deep", "made"]);
    assert_eq!(build_test.inside("cd /deep; while cd 0* 2> /dev/null; do :; done; cat file"), "bottom\n");
    // Longer than rm -r of a test's own can do.
    assert!(Command::new("rm").args(["-rf"]).arg(&tree).status().unwrap().success());
}
