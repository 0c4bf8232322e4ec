//! A replacement for debootstrap(8) in the box, since a tool's `build` calls it and no package can be fetched.
//!
//! It takes the arguments of debootstrap(8) and fills the folder with a small root made of this host's own programs: a
//! shell, the everyday commands, and their libraries, each at its place. It stands where the package would put it, and
//! takes the place of the real one, so that a build needs neither the network nor minutes. A tool that looks for a suite's
//! script or a distribution's keyring before it calls debootstrap finds those as well.
//!
//! `apt` says of what the box or an image has that it is installed. What task 4's services need besides (perl, which every
//! Debian has; a compiler, and python3 with flask and requests, which they ask apt for), an image has when their files name
//! it: it is much to copy. flask and requests are small ones of our own, since a grader's machine seldom has the real ones.

use std::path::{Path, PathBuf};

use crate::sandbox::{FileKind, SandboxFile};

const SCRIPT: &str = include_str!("debootstrap.sh");
const APT: &str = include_str!("apt.sh");
const PACKAGES: &str = include_str!("packages.sh");
const FLASK: &str = include_str!("flask.py");
const REQUESTS: &str = include_str!("requests.py");
const SUITES: [&str; 7] = ["bookworm", "trixie", "bullseye", "sid", "stable", "jammy", "focal"];
const KEYRINGS: [&str; 2] = ["debian-archive-keyring.gpg", "ubuntu-archive-keyring.gpg"];

/// The files of the package, by absolute path.
pub fn package() -> Vec<SandboxFile> {
    let mut files = vec![file("/usr/sbin/debootstrap", SCRIPT, 0o755)];
    files.extend(SUITES.map(|suite| file(&format!("/usr/share/debootstrap/scripts/{suite}"), "", 0o644)));
    files.extend(["/usr/bin/apt", "/usr/bin/apt-get"].map(|path| file(path, APT, 0o755)));
    files.extend(KEYRINGS.map(|keyring| file(&format!("/usr/share/keyrings/{keyring}"), "", 0o644)));
    files
}

/// What the services among `prepared`, the submission's files, need of an image besides a small root: the files by which
/// debootstrap knows, and the programs that this machine must have.
pub fn services(prepared: &[SandboxFile]) -> (Vec<SandboxFile>, Vec<&'static str>) {
    // A service's own script names a program anywhere; any other script where it installs it.
    let has = |word: &str| {
        let says = |file: &SandboxFile| match &file.what {
            FileKind::File { bytes, .. } if file.path.extension().is_some_and(|end| end == "sh") => {
                let is_service = file.path.ends_with("run.sh");
                let text = String::from_utf8_lossy(bytes);
                text.lines().any(|line| line.contains(word) && (is_service || line.contains("install")))
            }
            _ => false,
        };
        prepared.iter().any(says)
    };
    let is_cpp =
        |file: &SandboxFile| file.path.extension().is_some_and(|end| ["cpp", "cc", "cxx"].iter().any(|it| end == *it));
    let (mut wanted, mut programs) = (String::new(), Vec::new());
    if ["make", "gcc", "g++", "build-essential"].into_iter().any(has) {
        let compiler = if prepared.iter().any(is_cpp) { "cc1plus" } else { "cc1" };
        wanted += &format!("compiler {compiler}\n");
        programs.extend(["gcc", "make"]);
    }
    if has("python3") {
        wanted += "python\n";
        programs.push("python3");
    }
    if has("perl") || prepared.iter().any(|file| file.path.extension().is_some_and(|end| end == "pl")) {
        wanted += "perl\n";
        programs.push("perl");
    }
    if wanted.is_empty() {
        return (Vec::new(), programs);
    }
    let folder = Path::new("/usr/share/debootstrap/packages");
    let files =
        [("wanted", wanted.as_str()), ("packages.sh", PACKAGES), ("flask.py", FLASK), ("requests.py", REQUESTS)];
    (files.map(|(name, text)| file(&folder.join(name).to_string_lossy(), text, 0o644)).to_vec(), programs)
}

/// A file of the box's own system.
pub fn file(path: &str, text: &str, mode: u32) -> SandboxFile {
    SandboxFile { path: PathBuf::from(path), what: FileKind::File { bytes: text.as_bytes().to_vec(), mode } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_gets_what_the_services_ask_apt_for_and_nothing_else() {
        let run = |path: &str, text: &str| file(path, text, 0o755);
        let asked = |files: &[SandboxFile]| services(files).1;
        assert_eq!(asked(&[run("task4/counter-service/run.sh", "exec ./counter-service 8080\n")]), Vec::<&str>::new());
        assert_eq!(asked(&[run("counter-service/run.sh", "apt install -y build-essential\nmake\n")]), ["gcc", "make"]);
        assert_eq!(asked(&[run("external-service/run.sh", "apt install -y python3 python3-flask\n")]), ["python3"]);
        assert_eq!(asked(&[run("counter-service/run.sh", "exec perl counter.pl 8080 1\n")]), ["perl"]);
        assert_eq!(asked(&[run("a/run.sh", "exec ./counter.pl\n"), run("a/counter.pl", "")]), ["perl"]);
        let inside = "conduct exec c1 -- apt-get install -y python3 python3-flask\n# then make the peers\n";
        assert_eq!(asked(&[run("task4/service-orchestrator.sh", inside)]), ["python3"]);
        let (files, _) = services(&[run("a/run.sh", "make"), run("a/main.cpp", "")]);
        let wanted = files.iter().find(|file| file.path.ends_with("wanted")).unwrap();
        assert!(matches!(&wanted.what, FileKind::File { bytes, .. } if bytes == b"compiler cc1plus\n"));
    }
}
