//! Tests of `Rootfs::add_program`: programs start in the root, and nothing outside it is changed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end in a panic")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nsutil::error::line;
use nsutil::rootfs::Rootfs;
use tempfile::TempDir;

struct Place {
    folder: TempDir,
    root: Rootfs,
}

impl Place {
    /// A root in a folder with a blank in its name, beside other files.
    fn new() -> Self {
        let folder = TempDir::with_prefix("with blank ").unwrap();
        let root = Rootfs::at(&folder.path().join("new/root")).unwrap();
        Self { folder, root }
    }

    fn inside(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("/usr/sbin/chroot");
        command.arg(self.root.path()).args(arguments).env_clear().stdin(Stdio::null()).output().unwrap()
    }

    fn refusal(&self, program: &str, inside: &str) -> String {
        line(&self.root.add_program(Path::new(program), Path::new(inside)).unwrap_err())
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
#[ignore = "needs root: make test"]
fn twenty_programs_of_this_machine_start_in_an_empty_root() {
    let programs = "bash cat cp date dd df env expr grep head id ls mkdir od perl printf sed sort tar true";
    for name in programs.split(' ') {
        let place = Place::new();
        let program = Path::new("/usr/bin").join(name);
        place.root.add_program(&program, &program).unwrap();
        let version = place.run(&[program.to_str().unwrap(), "--version"]);
        assert!(version.status.success(), "{name}: {}", said(&version));
        let outside = Command::new(&program).arg("--version").env_clear().output().unwrap();
        assert_eq!(said(&version), said(&outside), "{name}");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn it_holds_files_and_no_links_each_where_it_will_be_looked_for() {
    let place = Place::new();
    place.root.add_program(Path::new("/bin/sh"), Path::new("/container_prog")).unwrap();
    let listed =
        Command::new("find").arg(place.root.path()).args(["-type", "f", "-printf", "%P %m\n"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let ldd = said(&Command::new("ldd").arg("/bin/sh").output().unwrap());
    for line in ldd.lines().filter(|line| line.contains('/')) {
        let path = line.trim().rsplit(" => ").next().unwrap().split(" (0x").next().unwrap();
        let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert!(listed.contains(&format!("{} {mode:o}\n", path.trim_start_matches('/'))), "{path} in:\n{listed}");
    }
    assert_eq!(listed.lines().count(), 1 + ldd.lines().filter(|line| line.contains('/')).count(), "{listed}");
}

#[test]
#[ignore = "needs root: make test"]
fn a_second_run_heals_what_was_deleted_emptied_or_left_half_done() {
    let place = Place::new();
    let add = || place.root.add_program(Path::new("/bin/sh"), Path::new("/container_prog"));
    add().unwrap();
    let before = fs::metadata(place.inside("/container_prog")).unwrap().ino();
    add().unwrap();
    assert_ne!(fs::metadata(place.inside("/container_prog")).unwrap().ino(), before, "it is replaced as a whole");
    fs::remove_dir_all(place.inside("/lib64")).unwrap();
    fs::write(place.inside("/lib/x86_64-linux-gnu/libc.so.6"), "").unwrap();
    fs::write(place.inside("/.container_prog.new"), "half").unwrap();
    add().unwrap();
    assert_eq!(said(&place.run(&["/container_prog", "-c", "echo it runs"])), "it runs\n");
    assert!(!place.inside("/.container_prog.new").exists());
}

#[test]
#[ignore = "needs root: make test"]
fn a_program_that_runs_from_it_is_not_disturbed() {
    let place = Place::new();
    let add = || place.root.add_program(Path::new("/bin/cat"), Path::new("/container_prog"));
    add().unwrap();
    let mut chroot = Command::new("/usr/sbin/chroot");
    chroot.arg(place.root.path()).arg("/container_prog").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = chroot.spawn().unwrap();
    add().unwrap();
    drop(running.stdin.take());
    assert!(running.wait().unwrap().success());
}

#[test]
#[ignore = "needs root: make test"]
fn a_script_brings_its_interpreter_and_what_env_will_find() {
    let place = Place::new();
    let script = place.folder.path().join("script");
    fs::write(&script, "#!/usr/bin/env bash\necho \"from $BASH\"\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    place.root.add_program(&script, Path::new("/bin/script")).unwrap();
    assert_eq!(said(&place.run(&["/bin/script"])), "from /usr/bin/bash\n");
}

#[test]
#[ignore = "needs root: make test"]
fn libraries_beside_a_program_move_along_with_it() {
    let place = Place::new();
    let shell = "mkdir -p app/bin app/lib && \
        echo 'int in(void) { return 0; }' | cc -shared -fPIC -x c - -o app/lib/libin.so && \
        echo 'int in(void); int out(void) { return in(); }' | \
            cc -shared -fPIC -x c - -o app/lib/libout.so -Lapp/lib -lin -Wl,-rpath,'$ORIGIN' && \
        echo 'int out(void); int main(void) { return out(); }' | \
            cc -x c - -o app/bin/run -Lapp/lib -lout -Wl,-rpath,'$ORIGIN/../lib' -Wl,-rpath-link,app/lib";
    let built = Command::new("sh").args(["-c", shell]).current_dir(place.folder.path()).output().unwrap();
    assert!(built.status.success(), "{}", said(&built));
    let program = place.folder.path().join("app/bin/run");
    for inside in ["/container_prog", "/opt/other/bin/run"] {
        place.root.add_program(&program, Path::new(inside)).unwrap();
        let ran = place.run(&[inside]);
        assert!(ran.status.success(), "{inside}: {}", said(&ran));
    }
    assert!(place.inside("/lib/libin.so").exists() && place.inside("/opt/other/lib/libin.so").exists());
}

#[test]
#[ignore = "needs root: make test"]
fn a_library_that_only_the_loaders_cache_knows_is_found_inside_by_a_copy_of_it() {
    let folder = TempDir::new().unwrap();
    // /etc/ld.so.cache is replaced only in this shell's own mount namespace.
    let shell = "mkdir far && echo 'int far(void) { return 0; }' | cc -shared -fPIC -x c - -o far/libfar.so && \
        echo 'int far(void); int main(void) { return far(); }' | cc -x c - -o run -Lfar -lfar && \
        echo \"$PWD/far\" > conf && cat /etc/ld.so.conf >> conf && /sbin/ldconfig -X -f conf -C cache && \
        mount --bind cache /etc/ld.so.cache && exec \"$EXAMPLE\" \"$PWD/run\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", shell]).current_dir(folder.path()).env("EXAMPLE", example("rootfs"));
    let ran = command.output().unwrap();
    assert!(ran.status.success(), "{}", said(&ran));
    assert!(said(&ran).contains("ended with code 0"), "{}", said(&ran));
}

/// `target/debug/examples/NAME`, relative to `target/debug/deps/THIS_TEST`.
fn example(name: &str) -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("examples").join(name)
}

/// Everything below the folder but outside the root: path to inode, size and time of change.
fn outside(place: &Place) -> BTreeMap<PathBuf, (u64, u64, i64)> {
    let mut all = BTreeMap::new();
    let mut folders = vec![place.folder.path().join("host")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let about = fs::symlink_metadata(&entry).unwrap();
            if about.is_dir() {
                folders.push(entry.clone());
            }
            all.insert(entry, (about.ino(), about.size(), about.ctime_nsec()));
        }
    }
    all
}

#[test]
#[ignore = "needs root: make test"]
fn links_inside_never_lead_a_copy_out() {
    for link in ["HOST", "../../host", "../../../../../../../../../..HOST", "/proc/self/root/HOST"] {
        let place = Place::new();
        let host = place.folder.path().join("host");
        fs::create_dir_all(host.join("x86_64-linux-gnu")).unwrap();
        fs::write(host.join("x86_64-linux-gnu/libc.so.6"), "the host's").unwrap();
        let target = link.replace("HOST", host.to_str().unwrap());
        symlink(&target, place.inside("/lib")).unwrap();
        assert_eq!(fs::canonicalize(place.inside("/lib")).unwrap(), host, "from outside, {target} leads out");
        symlink(host.join("x86_64-linux-gnu/libc.so.6"), place.inside("/container_prog")).unwrap();
        let before = outside(&place);
        // Inside the root the link is dangling: the copy is refused, or is made inside the root.
        let outcome = place.root.add_program(Path::new("/bin/true"), Path::new("/container_prog"));
        if let Err(error) = &outcome {
            assert!(line(error).contains("a dangling symbolic link is in the way"), "{}", line(error));
        }
        assert_eq!(outside(&place), before, "{link}");
        assert!(fs::symlink_metadata(place.inside("/container_prog")).unwrap().is_file(), "the link is replaced");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_link_that_stays_inside_is_followed_as_in_a_system_with_merged_usr() {
    let place = Place::new();
    fs::create_dir_all(place.inside("/usr/lib")).unwrap();
    symlink("usr/lib", place.inside("/lib")).unwrap();
    place.root.add_program(Path::new("/bin/sh"), Path::new("/container_prog")).unwrap();
    assert!(place.inside("/usr/lib/x86_64-linux-gnu/libc.so.6").is_file());
    assert_eq!(said(&place.run(&["/container_prog", "-c", "echo it runs"])), "it runs\n");
}

#[test]
fn what_cannot_be_a_root_is_refused_with_the_reason() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let refusal = |path: &Path| line(&Rootfs::at(path).unwrap_err());
    assert!(refusal(&file).ends_with("File exists (EEXIST); a file is in the way"), "{}", refusal(&file));
    let below = refusal(&file.join("below"));
    assert!(below.ends_with("Not a directory (ENOTDIR); a file is in the way"), "{below}");
    for host in ["/", "/usr/..", "/proc/self/root"] {
        assert!(refusal(Path::new(host)).ends_with(": it is the host's own root"), "{}", refusal(Path::new(host)));
    }
    assert!(refusal(Path::new("/proc/new")).starts_with("cannot make the folder /proc/new: "));
}

#[test]
#[ignore = "needs root: make test"]
fn the_hosts_own_files_and_things_in_the_way_are_left_alone() {
    // As if `--root` named the host folder that contains the program's own file.
    let place = Place::new();
    let program = place.inside("/container_prog");
    fs::copy("/bin/true", &program).unwrap();
    let told = place.refusal(program.to_str().unwrap(), "/container_prog");
    assert!(told.contains("is the same file as the host"), "{told}");
    let place = Place::new();
    fs::create_dir(place.inside("/container_prog")).unwrap();
    assert!(place.refusal("/bin/true", "/container_prog").contains("EISDIR"));
    fs::write(place.inside("/lib64"), "").unwrap();
    fs::remove_dir(place.inside("/container_prog")).unwrap();
    assert!(place.refusal("/bin/true", "/container_prog").contains("cannot open folder /lib64 in"));
    let left = fs::read_dir(place.root.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().ends_with(".new")), "no half copies stay");
}

#[test]
#[ignore = "needs root: make test"]
fn a_set_user_id_program_loses_that_right() {
    let place = Place::new();
    let program = place.folder.path().join("powerful");
    fs::copy("/bin/true", &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o6755)).unwrap();
    place.root.add_program(&program, Path::new("/powerful")).unwrap();
    assert_eq!(fs::metadata(place.inside("/powerful")).unwrap().permissions().mode() & 0o7777, 0o755);
}
