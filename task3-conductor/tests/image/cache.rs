//! What is taken from the cache, and what must not be.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use crate::workshop::{Workshop, names};

const FILE: &str = "FROM host\nCOPY app /app\nRUN cat /app/a > /result\nENV X=1\nRUN echo $X >> /result\n";

#[test]
#[ignore = "needs root: make test"]
fn a_layer_is_made_again_exactly_when_what_it_was_made_from_has_changed() {
    let workshop = Workshop::with_own_cache("cache");
    let a = workshop.file("app/a", "one\n");
    let outcomes = || -> String {
        let story = workshop.story(FILE);
        assert_eq!(story.len(), 4, "{story:?}");
        story.iter().map(|(_, outcome)| outcome.chars().next().unwrap()).collect()
    };
    assert_eq!(outcomes(), "dddd");
    assert_eq!(outcomes(), "cccc", "nothing has changed");
    assert_eq!(workshop.inside("cat /result"), "one\n1\n");

    let old = fs::File::options().write(true).open(&a).unwrap();
    old.set_modified(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(outcomes(), "cccc", "a time is not content");
    chown(&a, Some(1000), Some(1000)).unwrap();
    assert_eq!(outcomes(), "cccc", "everything belongs to root afterwards");

    fs::write(&a, "two\n").unwrap();
    assert_eq!(outcomes(), "cddd", "content");
    assert_eq!(workshop.inside("cat /result"), "two\n1\n");
    fs::write(&a, "one\n").unwrap();
    assert_eq!(outcomes(), "cccc", "the content it had before");
    fs::set_permissions(&a, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(outcomes(), "cddd", "mode");
    workshop.file("app/b", "");
    assert_eq!(outcomes(), "cddd", "one file more");
    fs::rename(workshop.context.path().join("app/b"), workshop.context.path().join("app/c")).unwrap();
    assert_eq!(outcomes(), "cddd", "another name");
    fs::remove_file(workshop.context.path().join("app/c")).unwrap();
    assert_eq!(outcomes(), "cccc", "as it was");
    std::os::unix::fs::symlink("a", workshop.context.path().join("app/l")).unwrap();
    assert_eq!(outcomes(), "cddd", "a link");
    workshop.file("unrelated", "x");
    assert_eq!(outcomes(), "cccc", "a file that is not copied");
}

#[test]
#[ignore = "needs root: make test"]
fn an_edit_of_the_conductorfile_counts_from_its_line_on() {
    let workshop = Workshop::with_own_cache("edit");
    workshop.file("app/a", "one\n");
    let outcomes = |text: &str| -> String {
        workshop.story(text).iter().map(|(_, outcome)| outcome.chars().next().unwrap()).collect()
    };
    assert_eq!(outcomes(FILE), "dddd");
    assert_eq!(outcomes(&FILE.replace("FROM", "# a comment\nfrom").replace("RUN cat", "RUN \\\n  cat")), "cccc");
    assert_eq!(outcomes(&FILE.replace("X=1", "X=2")), "cccd", "the environment of the second RUN");
    assert_eq!(workshop.inside("cat /result"), "one\n2\n");
    assert_eq!(outcomes(&FILE.replace("cat /app/a", "cat  /app/a")), "ccdd");
    assert_eq!(outcomes(&FILE.replace("COPY app /app", "COPY app /app2\nCOPY app /app")), "cdddd", "another parent");
    let swapped = "FROM host\nRUN mkdir /app && echo other > /app/a\nCOPY app /app\nRUN cat /app/a > /result\n";
    assert_eq!(outcomes(swapped), "cddd", "another order");
    assert_eq!(workshop.inside("cat /result"), "one\n");
}

#[test]
#[ignore = "needs root: make test"]
fn images_of_one_base_share_its_layer_and_a_child_lives_without_its_parents_record() {
    let workshop = Workshop::with_own_cache("share");
    for name in ["first", "second"] {
        workshop.host.ok(&["build", "--from", "host", name]);
    }
    assert_eq!(workshop.cache("layers").len(), 1);
    workshop.story("FROM first\nENV A=b\nCMD [\"printenv\", \"A\"]\nWORKDIR /tmp\n");
    workshop.host.ok(&["rmi", "first", "second"]);
    workshop.host.ok(&["rmcache"]);
    assert_eq!(workshop.host.ok(&["run", "--rm", "made", "child"]), "b\n");
    assert_eq!(workshop.inside("pwd"), "/tmp\n");
}

#[test]
#[ignore = "needs root: make test"]
fn rmcache_removes_what_nothing_uses_and_nothing_else() {
    let workshop = Workshop::with_own_cache("rmcache");
    assert_eq!(workshop.host.ok(&["rmcache"]), "Nothing to remove\n");
    workshop.file("a", "x");
    workshop.story("FROM host\nCOPY a /a\n");
    workshop.host.ok(&["run", "-d", "made", "user", "--", "sleep", "infinity"]);
    workshop.story("FROM host\nCOPY a /b\n");
    fs::create_dir_all(workshop.host.store.join(".cache/packages/debian")).unwrap();
    fs::write(workshop.host.store.join(".cache/packages/debian/x.deb"), vec![1; 8192]).unwrap();
    assert_eq!(workshop.cache("layers").len(), 3);
    let told = workshop.host.ok(&["rmcache"]);
    assert!(told.starts_with("Removed 0 layers (0) and fetched packages (16K)"), "{told}");
    workshop.host.ok(&["exec", "user", "--", "cat", "/a"]);
    workshop.host.ok(&["stop", "user"]);
    let told = workshop.host.ok(&["rmcache"]);
    assert!(told.starts_with("Removed 1 layer ("), "{told}");
    workshop.host.ok(&["rmi", "made"]);
    workshop.host.ok(&["rmcache"]);
    assert_eq!(workshop.cache("layers"), Vec::<String>::new());
    assert_eq!(names(&workshop.host.store.join(".images")), Vec::<String>::new());
}

#[test]
#[ignore = "needs root: make test"]
fn rmcache_does_not_guess_when_a_record_is_damaged() {
    let workshop = Workshop::with_own_cache("guess");
    workshop.host.ok(&["build", "--from", "host", "eg"]);
    fs::write(workshop.host.store.join(".images/eg/record.json"), "{").unwrap();
    let refused = workshop.host.run(&["rmcache"]);
    assert_eq!(refused.code, 125);
    assert!(refused.err.contains("`conductor rmi eg`"), "{refused:?}");
    let listed = workshop.host.ok(&["images"]);
    assert!(listed.contains("eg                   damaged"), "{listed}");
    workshop.host.ok(&["rmi", "eg"]);
    workshop.host.ok(&["rmcache"]);
    assert_eq!(workshop.cache("layers"), Vec::<String>::new());
}
