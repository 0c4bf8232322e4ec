//! A store of its own, with a small image, a large one, and a running container.

use std::cell::RefCell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::clock::must;

pub struct BenchSetup {
    dir: tempfile::TempDir,
    binaries: PathBuf,
    /// The root folder of the small image's one layer.
    pub layer: String,
    /// The first process of the container `held`.
    pub init: u32,
    at_end: RefCell<Vec<Vec<String>>>,
}

/// Size of the large image's file, in bytes. It is all hole: what is asked is whether a listing looks at each block.
const LARGE: u64 = 2 << 30;

impl BenchSetup {
    pub fn set(binaries: &Path) -> Self {
        connect();
        let dir = tempfile::Builder::new().prefix("conductor-bench").tempdir_in("/var/tmp").unwrap();
        let (binaries, layer, at_end) = (binaries.to_owned(), String::new(), RefCell::default());
        let mut setup = Self { dir, binaries, layer, init: 0, at_end };
        fs::write(setup.path("Small"), "FROM host\n").unwrap();
        fs::write(setup.path("Large"), "FROM host\nCOPY large /\n").unwrap();
        File::create(setup.path("large")).unwrap().set_len(LARGE).unwrap();
        must(&setup.conductor(&["build", "bench", &setup.path("Small")]));
        must(&setup.conductor(&["build", "large", &setup.path("Large")]));
        must(&setup.conductor(&["run", "-d", "bench", "held", "--", "sleep", "infinity"]));
        setup.at_end(setup.conductor(&["stop", "held"]));
        let id = setup.record(".images/bench")["layers"][0].as_str().unwrap().to_owned();
        setup.init = setup.record(".containers/held")["init"]["pid"].as_u64().unwrap() as u32;
        setup.layer = setup.path(&format!(".cache/layers/{id}/root"));
        setup
    }

    /// The record of an image or a container, by its folder in the store.
    pub fn record(&self, folder: &str) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.dir.path().join(folder).join("record.json")).unwrap()).unwrap()
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    pub fn floor(&self, program: &str) -> String {
        self.binaries.join("examples").join(program).display().to_string()
    }

    /// A command line of conductor's, in this store.
    pub fn conductor(&self, arguments: &[&str]) -> Vec<String> {
        let (program, root) = (self.binaries.join("conductor"), self.dir.path());
        let mut line =
            vec![program.display().to_string(), "-q".to_owned(), "--root".to_owned(), root.display().to_string()];
        line.extend(arguments.iter().map(|&word| word.to_owned()));
        line
    }

    /// What is to be run when all is over, however it ends.
    pub fn at_end(&self, line: impl IntoIterator<Item = impl Into<String>>) {
        self.at_end.borrow_mut().push(line.into_iter().map(Into::into).collect());
    }
}

/// Gives this network namespace a way to the world that leads nowhere: conductor asks for one before it hides addresses.
fn connect() {
    let lines = [
        "ip link set lo up",
        "ip link add up0 type veth peer name far0",
        "ip address add 10.9.0.2/24 dev up0",
        "ip link set up0 up",
        "ip link set far0 up",
        "ip route add default via 10.9.0.1",
    ];
    for line in lines {
        must(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
    }
}

impl Drop for BenchSetup {
    fn drop(&mut self) {
        for line in self.at_end.borrow().iter().rev() {
            let _ = Command::new(&line[0]).args(&line[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}
