//! A host with a folder to build from.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use testlab::host::{Host, Outcome, within};

/// A private host, and a folder that Conductorfiles stand in.
pub struct BuildTest {
    pub host: Host,
    pub context: tempfile::TempDir,
}

/// What became of each instruction of a build.
pub type BuildLog = Vec<(String, &'static str)>;

impl BuildTest {
    pub fn new(test: &str) -> Self {
        Self { host: Host::new(test), context: tempfile::tempdir().unwrap() }
    }

    /// A store whose cache is its own too, for tests that empty it.
    pub fn with_own_cache(test: &str) -> Self {
        let build_test = Self::new(test);
        nix::mount::umount2(&build_test.host.store.join(".cache"), nix::mount::MntFlags::MNT_DETACH).unwrap();
        fs::remove_dir_all(build_test.host.store.join(".images")).unwrap();
        build_test
    }

    /// Writes a file of the context.
    pub fn file(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.context.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Builds the image `made` from this text.
    pub fn build(&self, conductorfile: &str) -> Outcome {
        let path = self.file("Conductorfile", conductorfile);
        self.host.run(&["build", "made", path.to_str().unwrap()])
    }

    /// Builds it, and it must succeed; tells which instructions were cached.
    pub fn build_log(&self, conductorfile: &str) -> BuildLog {
        let outcome = self.build(conductorfile);
        assert_eq!(outcome.code, 0, "{outcome:?}");
        build_log(&outcome.err)
    }

    /// Builds it, and it must fail; the reason.
    pub fn refusal(&self, conductorfile: &str) -> String {
        let outcome = self.build(conductorfile);
        assert_eq!(outcome.code, 125, "{outcome:?}");
        assert!(!outcome.err.contains("panicked"), "{}", outcome.err);
        let at = outcome.err.find("conductor: ").unwrap_or_else(|| panic!("{}", outcome.err));
        outcome.err[at..].to_owned()
    }

    /// Runs a shell's text in a container of the image `made`.
    pub fn inside(&self, script: &str) -> String {
        let outcome = self.host.run(&["-q", "run", "--rm", "made", "look", "--", "bash", "-c", script]);
        assert_eq!(outcome.code, 0, "{script}: {outcome:?}");
        outcome.out
    }

    /// Starts a container that stays until it is stopped.
    pub fn start(&self, image: &str, name: &str) {
        self.host.ok(&["run", "-d", image, name, "--", "sleep", "infinity"]);
    }

    pub fn has_image(&self) -> bool {
        self.host.ok(&["images"]).lines().any(|line| line.starts_with("made "))
    }

    /// The layers of an image, the topmost first.
    pub fn layers_of(&self, image: &str) -> Vec<String> {
        let record = fs::read(self.host.store.join(".images").join(image).join("record.json")).unwrap();
        let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
        record["layers"].as_array().unwrap().iter().map(|layer| layer.as_str().unwrap().to_owned()).collect()
    }

    /// What is in `.cache/NAME`.
    pub fn cache(&self, folder: &str) -> Vec<String> {
        names(&self.host.store.join(".cache").join(folder))
    }
}

pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Each instruction with `cached` or `done`, as the build told on stderr.
pub fn build_log(err: &str) -> BuildLog {
    let mut build_log = BuildLog::new();
    let mut instruction = String::new();
    for line in err.lines() {
        match line.strip_prefix("  ") {
            Some("cached") => build_log.push((std::mem::take(&mut instruction), "cached")),
            Some(time) if time.starts_with("done in ") => build_log.push((std::mem::take(&mut instruction), "done")),
            Some(_) => (),
            None if instruction.is_empty() => line.clone_into(&mut instruction),
            // What a command printed.
            None => (),
        }
    }
    build_log
}

/// Waits until there is something: a minute or two, for this machine may have much to do.
pub fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < within(Duration::from_secs(100)), "it did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}
