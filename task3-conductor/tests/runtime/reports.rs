//! What people report about tools such as this one, tried here. Each test is a kind of report.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use crate::host::Host;

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
        assert!(outcome.code == 125 && outcome.err.contains("it is where the copy goes"), "{place}: {outcome:?}");
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
    assert!(outcome.err.contains("b: it is where the copy goes"), "{outcome:?}");
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
