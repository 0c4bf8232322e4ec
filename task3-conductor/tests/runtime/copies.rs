//! Copies with `cp`: what they enter, write through, keep, and never replace.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;

use testlab::host::{Host, file_of};

/// The store is where its scripts stand, and "copy all that is here" is said there.
#[test]
#[ignore = "needs root: make test"]
fn a_copy_never_enters_what_it_writes_whatever_way_leads_there() {
    let host = Host::new("cp-endless");
    host.start("q");
    let upper = host.container("q").join("upper");
    // The folder that the store is in, into a new folder, one that only the image has, and one of the container's own.
    host.ok(&["exec", "q", "--", "mkdir", "/there"]);
    for place in ["new", "srv", "there"] {
        let source = format!("{}/.", host.store.join(".containers").display());
        let outcome = host.run(&["cp", &source, &format!("q:/{place}")]);
        assert!(
            outcome.code == 125 && outcome.err.contains("it is the destination of the copy"),
            "{place}: {outcome:?}"
        );
        assert!(!upper.join(place).join("q/upper").join(place).exists(), "{place}");
        host.ok(&["exec", "q", "--", "rm", "-r", &format!("/{place}")]);
    }
    // By a way that does not pass the container's folder.
    let door = host.store.join("door");
    fs::create_dir_all(&door).unwrap();
    let bind = |from: &Path| {
        nix::mount::mount(Some(from), &door, None::<&str>, nix::mount::MsFlags::MS_BIND, None::<&str>).unwrap();
    };
    host.ok(&["exec", "q", "--", "mkdir", "-p", "/a/b"]);
    bind(&upper.join("a"));
    let outcome = host.run(&["cp", &format!("{}/.", door.display()), "q:/a/b"]);
    assert!(outcome.err.contains("b: it is the destination of the copy"), "{outcome:?}");
    // Out of the container, into what holds its changes.
    let outcome = host.run(&["cp", "q:/a", door.join("b").to_str().unwrap()]);
    assert!(outcome.err.contains("cannot copy q:/a/b"), "{outcome:?}");
    assert!(!upper.join("a/b/a/b/a").exists());
    nix::mount::umount2(&door, nix::mount::MntFlags::MNT_DETACH).unwrap();
}

#[test]
#[ignore = "needs root: make test"]
fn cp_writes_through_a_link_and_into_the_file_that_is_there() {
    let host = Host::new("cp-through");
    host.start("q");
    let new = host.store.join("new");
    fs::write(&new, "new\n").unwrap();
    let make = "echo old > /real; chown 1000:1000 /real; chmod 4640 /real; ln -s /real /link; ln /real /second; \
                mkdir /d; ln -s ../real /d/new; ln -s nowhere /dangling";
    host.ok(&["exec", "q", "--", "bash", "-c", make]);
    let look = || {
        host.ok(&[
            "-q",
            "exec",
            "q",
            "--",
            "bash",
            "-c",
            "cat /real /second; stat -c '%a %u:%g' /real; readlink /link /d/new",
        ])
    };
    for target in ["q:/link", "q:/d", "q:/second", "q:/real"] {
        host.ok(&["exec", "q", "--", "bash", "-c", "echo old and longer > /real; chmod 640 /real"]);
        host.ok(&["cp", new.to_str().unwrap(), target]);
        assert_eq!(look(), "new\nnew\n640 1000:1000\n/real\n../real\n", "{target}");
    }
    host.ok(&["cp", new.to_str().unwrap(), "q:/dangling"]);
    assert_eq!(host.ok(&["-q", "exec", "q", "--", "cat", "/dangling"]), "new\n");
    // And out of it, onto the host's.
    let (real, link) = (host.store.join("real"), host.store.join("link"));
    fs::write(&real, "old").unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o600)).unwrap();
    symlink(&real, &link).unwrap();
    host.ok(&["cp", "q:/real", link.to_str().unwrap()]);
    assert_eq!(
        (fs::read_to_string(&real).unwrap(), fs::metadata(&real).unwrap().mode() & 0o777),
        ("new\n".into(), 0o600)
    );
    assert!(link.is_symlink());
}

#[test]
#[ignore = "needs root: make test"]
fn cp_keeps_hard_links_and_holes() {
    let host = Host::new("cp-links-holes");
    host.start("q");
    let make = "mkdir /t; cd /t; echo x > a; ln a b; mkdir d; ln a d/c; truncate -s 1G hole; echo end >> hole";
    host.ok(&["exec", "q", "--", "bash", "-c", make]);
    let target = host.store.join("t");
    for _ in 0..2 {
        host.ok(&["cp", "q:/t/.", target.to_str().unwrap()]);
        let inode = |name: &str| fs::metadata(target.join(name)).unwrap().ino();
        assert!(inode("a") == inode("b") && inode("a") == inode("d/c"));
        let hole = fs::metadata(target.join("hole")).unwrap();
        assert!(hole.len() == (1 << 30) + 4 && hole.blocks() < 100, "{hole:?}");
        let names: Vec<_> = fs::read_dir(&target).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(names.len(), 4, "{names:?}");
    }
}

/// /dev/null was once found to be a file of mode 644: a copy to it had taken its place.
#[test]
#[ignore = "needs root: make test"]
fn a_device_or_pipe_that_is_copied_to_stays_what_it_is() {
    let host = Host::new("cp-device");
    host.start("q");
    host.ok(&["exec", "q", "--", "bash", "-c", "echo x > /file"]);
    // Devices of the test's own: should they be replaced, the host's are not.
    let dev = host.store.join("dev");
    fs::create_dir_all(&dev).unwrap();
    let make =
        "cd $0; rm -f *; mknod null c 1 3; chmod 666 null; ln -s null link; mkfifo pipe; ln -s /proc/self/fd/1 stdout";
    let made = std::process::Command::new("sh").args(["-ec", make]).arg(&dev).status().unwrap();
    assert!(made.success());
    let look = || {
        let mut listed = std::process::Command::new("stat");
        listed.args(["-c", "%n %F %a %t:%T", "null", "link", "pipe", "stdout"]).current_dir(&dev);
        String::from_utf8(listed.output().unwrap().stdout).unwrap()
    };
    let before = look();
    let copy = |to: &str| host.run(&["-q", "cp", "q:/file", dev.join(to).to_str().unwrap()]);
    for to in ["null", "link"] {
        assert_eq!(copy(to).code, 0, "{to}");
    }
    assert_eq!(copy("stdout").out, "x\n");
    let reader = std::process::Command::new("cat").arg(dev.join("pipe")).stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(copy("pipe").code, 0);
    assert_eq!(reader.wait_with_output().unwrap().stdout, b"x\n");
    // Nor by a link of the same name.
    host.ok(&["exec", "q", "--", "bash", "-c", "mkdir /d; ln -s /etc/passwd /d/null"]);
    assert_eq!(host.run(&["cp", "q:/d/.", dev.to_str().unwrap()]).code, 125);
    assert_eq!(look(), before);
    // Inside, nothing of a container's is opened for us but files.
    host.ok(&["exec", "q", "--", "mkfifo", "/pipe"]);
    let file = file_of(&host.store.join("new"), b"new");
    for to in ["q:/dev/null", "q:/pipe"] {
        let refused = host.run(&["cp", file.to_str().unwrap(), to]);
        assert!(refused.code == 125, "{to}: {refused:?}");
    }
    assert!(
        host.ok(&["exec", "q", "--", "stat", "-c", "%F %a", "/dev/null", "/pipe"])
            .contains("character special file 666\nfifo")
    );
}

/// /etc/hosts, /etc/resolv.conf and volumes that are files: what is mounted cannot be replaced, and can be written to.
#[test]
#[ignore = "needs root: make test"]
fn cp_writes_into_a_file_that_is_mounted_and_out_of_its_folder() {
    let host = Host::new("cp-mounted");
    let (mine, shut) = (file_of(&host.store.join("mine"), b"old and longer\n"), file_of(&host.store.join("shut"), b""));
    let volumes = [format!("{}:/srv/mine", mine.display()), format!("{}:/srv/shut:ro", shut.display())];
    host.ok(&["run", "-d", "-v", &volumes[0], "-v", &volumes[1], "img", "q", "--", "sleep", "infinity"]);
    let new = file_of(&host.store.join("new"), b"127.0.0.1 localhost\n10.9.9.9 nine\n");
    for (to, place) in [("q:/srv/mine", "/srv/mine"), ("q:/etc/hosts", "/etc/hosts")] {
        host.ok(&["cp", new.to_str().unwrap(), to]);
        assert_eq!(host.ok(&["-q", "exec", "q", "--", "cat", place]), fs::read_to_string(&new).unwrap(), "{to}");
    }
    assert_eq!(fs::read(&mine).unwrap(), fs::read(&new).unwrap());
    let refused = host.run(&["cp", new.to_str().unwrap(), "q:/srv/shut"]);
    assert!(refused.code == 125 && refused.err.contains("Read-only file system"), "{refused:?}");
    // With the folder around it.
    let folder = host.store.join("etc");
    fs::create_dir_all(&folder).unwrap();
    file_of(&folder.join("hosts"), b"10.8.8.8 eight\n");
    host.ok(&["cp", &format!("{}/.", folder.display()), "q:/etc"]);
    assert_eq!(host.ok(&["-q", "exec", "q", "--", "cat", "/etc/hosts"]), "10.8.8.8 eight\n");
    host.ok(&["addnetwork", "q"]);
    let hosts = host.ok(&["-q", "exec", "q", "--", "cat", "/etc/hosts"]);
    assert!(hosts.starts_with("10.8.8.8 eight\n") && hosts.contains("192.168.1.2\t"), "{hosts}");
}
