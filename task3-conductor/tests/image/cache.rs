//! What is taken from the cache, and what must not be.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use crate::build_test::{BuildTest, names};

const FILE: &str = "FROM host\nCOPY app /app\nRUN cat /app/a > /result\nENV X=1\nRUN echo $X >> /result\n";

#[test]
#[ignore = "needs root: make test"]
fn a_layer_is_made_again_exactly_when_what_it_was_made_from_has_changed() {
    let build_test = BuildTest::with_own_cache("cache");
    let a = build_test.file("app/a", "one\n");
    let outcomes = || -> String {
        let build_log = build_test.build_log(FILE);
        assert_eq!(build_log.len(), 4, "{build_log:?}");
        build_log.iter().map(|(_, outcome)| outcome.chars().next().unwrap()).collect()
    };
    assert_eq!(outcomes(), "dddd");
    assert_eq!(outcomes(), "cccc", "nothing has changed");
    assert_eq!(build_test.inside("cat /result"), "one\n1\n");

    let old = fs::File::options().write(true).open(&a).unwrap();
    old.set_modified(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(outcomes(), "cccc", "a time is not content");
    chown(&a, Some(1000), Some(1000)).unwrap();
    assert_eq!(outcomes(), "cccc", "everything belongs to root afterwards");

    fs::write(&a, "two\n").unwrap();
    assert_eq!(outcomes(), "cddd", "content");
    assert_eq!(build_test.inside("cat /result"), "two\n1\n");
    fs::write(&a, "one\n").unwrap();
    assert_eq!(outcomes(), "cccc", "the content it had before");
    fs::set_permissions(&a, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(outcomes(), "cddd", "mode");
    build_test.file("app/b", "");
    assert_eq!(outcomes(), "cddd", "one file more");
    fs::rename(build_test.context.path().join("app/b"), build_test.context.path().join("app/c")).unwrap();
    assert_eq!(outcomes(), "cddd", "another name");
    fs::remove_file(build_test.context.path().join("app/c")).unwrap();
    assert_eq!(outcomes(), "cccc", "as it was");
    std::os::unix::fs::symlink("a", build_test.context.path().join("app/l")).unwrap();
    assert_eq!(outcomes(), "cddd", "a link");
    build_test.file("unrelated", "x");
    assert_eq!(outcomes(), "cccc", "a file that is not copied");
}

#[test]
#[ignore = "needs root: make test"]
fn an_edit_of_the_conductorfile_counts_from_its_line_on() {
    let build_test = BuildTest::with_own_cache("edit");
    build_test.file("app/a", "one\n");
    let outcomes = |text: &str| -> String {
        build_test.build_log(text).iter().map(|(_, outcome)| outcome.chars().next().unwrap()).collect()
    };
    assert_eq!(outcomes(FILE), "dddd");
    assert_eq!(outcomes(&FILE.replace("FROM", "# a comment\nfrom").replace("RUN cat", "RUN \\\n  cat")), "cccc");
    assert_eq!(outcomes(&FILE.replace("X=1", "X=2")), "cccd", "the environment of the second RUN");
    assert_eq!(build_test.inside("cat /result"), "one\n2\n");
    assert_eq!(outcomes(&FILE.replace("cat /app/a", "cat  /app/a")), "ccdd");
    assert_eq!(outcomes(&FILE.replace("COPY app /app", "COPY app /app2\nCOPY app /app")), "cdddd", "another parent");
    let swapped = "FROM host\nRUN mkdir /app && echo other > /app/a\nCOPY app /app\nRUN cat /app/a > /result\n";
    assert_eq!(outcomes(swapped), "cddd", "another order");
    assert_eq!(build_test.inside("cat /result"), "one\n");
}

#[test]
#[ignore = "needs root: make test"]
fn images_of_one_base_share_its_layer_and_a_child_lives_without_its_parents_record() {
    let build_test = BuildTest::with_own_cache("share");
    for name in ["first", "second"] {
        build_test.host.ok(&["build", "--from", "host", name]);
    }
    assert_eq!(build_test.cache("layers").len(), 1);
    build_test.build_log("FROM first\nENV A=b\nCMD [\"printenv\", \"A\"]\nWORKDIR /tmp\n");
    build_test.host.ok(&["rmi", "first", "second"]);
    build_test.host.ok(&["rmcache"]);
    assert_eq!(build_test.host.ok(&["run", "--rm", "made", "child"]), "b\n");
    assert_eq!(build_test.inside("pwd"), "/tmp\n");
}

#[test]
#[ignore = "needs root: make test"]
fn rmcache_removes_what_nothing_uses_and_nothing_else() {
    let build_test = BuildTest::with_own_cache("rmcache");
    assert_eq!(build_test.host.ok(&["rmcache"]), "Nothing to remove\n");
    build_test.file("a", "x");
    build_test.build_log("FROM host\nCOPY a /a\n");
    build_test.host.ok(&["run", "-d", "made", "user", "--", "sleep", "infinity"]);
    build_test.build_log("FROM host\nCOPY a /b\n");
    fs::create_dir_all(build_test.host.store.join(".cache/packages/debian")).unwrap();
    fs::write(build_test.host.store.join(".cache/packages/debian/x.deb"), vec![1; 8192]).unwrap();
    assert_eq!(build_test.cache("layers").len(), 3);
    let told = build_test.host.ok(&["rmcache"]);
    assert!(told.starts_with("Removed 0 layers (0) and fetched packages (16K)"), "{told}");
    build_test.host.ok(&["exec", "user", "--", "cat", "/a"]);
    build_test.host.ok(&["stop", "user"]);
    let told = build_test.host.ok(&["rmcache"]);
    assert!(told.starts_with("Removed 1 layer ("), "{told}");
    build_test.host.ok(&["rmi", "made"]);
    build_test.host.ok(&["rmcache"]);
    assert_eq!(build_test.cache("layers"), Vec::<String>::new());
    assert_eq!(names(&build_test.host.store.join(".images")), Vec::<String>::new());
}

#[test]
#[ignore = "needs root: make test"]
fn rmcache_does_not_guess_when_a_record_is_damaged() {
    let build_test = BuildTest::with_own_cache("guess");
    build_test.host.ok(&["build", "--from", "host", "eg"]);
    fs::write(build_test.host.store.join(".images/eg/record.json"), "{").unwrap();
    let refused = build_test.host.run(&["rmcache"]);
    assert_eq!(refused.code, 125);
    assert!(refused.err.contains("`conductor rmi eg`"), "{refused:?}");
    let listed = build_test.host.ok(&["images"]);
    assert!(listed.contains("eg                   damaged"), "{listed}");
    build_test.host.ok(&["rmi", "eg"]);
    build_test.host.ok(&["rmcache"]);
    assert_eq!(build_test.cache("layers"), Vec::<String>::new());
}

#[test]
#[ignore = "needs root: make test"]
fn the_history_of_an_image_lists_its_layers_and_draws_whose_they_are() {
    let build_test = BuildTest::new("history");
    build_test.host.ok(&["build", "--from", "host", "base"]);
    build_test.build_log("FROM base\nRUN echo '<&>' > /one\nRUN echo two > /two\n");
    let listed = build_test.host.ok(&["-q", "history", "made"]);
    assert_eq!(listed.lines().collect::<Vec<_>>(), build_test.layers_of("made"));
    let table = build_test.host.ok(&["history", "made"]);
    assert!(table.lines().nth(1).unwrap().ends_with("RUN echo two > /two"), "{table}");

    let file = build_test.context.path().join("layers.svg");
    build_test.host.ok(&["history", "made", file.to_str().unwrap()]);
    let drawn = fs::read_to_string(&file).unwrap();
    // Three of the image, and the one that a container adds.
    assert_eq!(drawn.matches("<rect").count(), 4, "{drawn}");
    assert!(drawn.contains("echo '&lt;&amp;&gt;'"), "escaped: {drawn}");
    assert_eq!(drawn.matches("read-only, shared with base").count(), 1, "{drawn}");

    let outcome = build_test.host.run(&["history", "none"]);
    assert_eq!((outcome.code, outcome.err.lines().count()), (125, 1), "{outcome:?}");
}
