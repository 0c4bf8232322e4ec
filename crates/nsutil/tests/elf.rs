//! Compares `elf::needs` with ldd(1), and tests cases for which ldd has no answer.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end in a panic")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use nsutil::elf::{Library, Needs, needs};
use nsutil::error::line;
use tempfile::TempDir;

/// Every program once, even if it has several names.
fn programs_of(folder: &str) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter_map(|path| fs::canonicalize(path).ok()).filter(|path| path.is_file());
    files.filter(|path| fs::metadata(path).unwrap().permissions().mode() & 0o111 != 0).collect()
}

/// The paths that ldd prints; none if it says that the file is not a dynamic program.
fn ldd(program: &Path) -> Option<BTreeSet<PathBuf>> {
    let output = Command::new("ldd").arg(program).env("LC_ALL", "C").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("not found"), "{}: {text}", program.display());
    let paths = text.lines().filter_map(|line| {
        let line = line.trim().rsplit_once(" (0x")?.0;
        let path = line.rsplit(" => ").next()?;
        path.starts_with('/').then(|| PathBuf::from(path))
    });
    output.status.success().then(|| paths.collect())
}

#[test]
fn every_program_of_this_machine_needs_what_ldd_says() {
    let programs = programs_of("/usr/bin");
    let counts = Mutex::new([0_usize; 4]);
    let left: Mutex<Vec<&PathBuf>> = Mutex::new(programs.iter().collect());
    let compare = || {
        loop {
            let Some(program) = left.lock().unwrap().pop() else { return };
            let listed = ldd(program);
            let kind = match (needs(program), listed) {
                (Ok(Needs::Dynamic { loader, libraries }), Some(listed)) => {
                    let ours = libraries.into_iter().map(|library| library.path).chain([loader]);
                    assert_eq!(ours.collect::<BTreeSet<_>>(), listed, "{}", program.display());
                    0
                }
                // ldd calls a static program that may be loaded anywhere "statically linked", and others not dynamic.
                (Ok(Needs::Static), listed) => {
                    assert!(listed.unwrap_or_default().is_empty(), "{}", program.display());
                    1
                }
                (Ok(Needs::Script { interpreter, .. }), None) => {
                    let first = fs::read(program).unwrap();
                    let first =
                        String::from_utf8_lossy(first.split(|byte| *byte == b'\n').next().unwrap()).into_owned();
                    assert!(first.contains(&*interpreter.path.to_string_lossy()), "{first}");
                    2
                }
                // A script whose interpreter is not installed.
                (Err(error), None) => {
                    assert!(line(&error).contains("interpreter"), "{}", line(&error));
                    assert_eq!(error.errno(), Some(nix::errno::Errno::ENOENT));
                    3
                }
                (ours, ldd) => panic!("{}: {ours:?}, but ldd: {ldd:?}", program.display()),
            };
            counts.lock().unwrap()[kind] += 1;
        }
    };
    std::thread::scope(|threads| {
        threads.spawn(compare);
        threads.spawn(compare);
    });
    let [dynamic, fixed, scripts, broken] = counts.into_inner().unwrap();
    let summary = format!(
        "/usr/bin: {dynamic} dynamic, {fixed} static, {scripts} scripts, {broken} scripts without their interpreter; \
         all as ldd says\n"
    );
    // Directly to stderr: the test harness would capture it.
    std::io::stderr().write_all(summary.as_bytes()).unwrap();
    assert_eq!(dynamic + fixed + scripts + broken, programs.len());
    assert!(dynamic > 20, "{summary}");
}

/// A folder with a blank in its name, where small C programs are built.
struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        Self(TempDir::with_prefix("with blank ").unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, text: &[u8], mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn compile(&self, output: &str, source: &str, options: &[&str]) -> PathBuf {
        let source = self.file(&format!("{output}.c"), source.as_bytes(), 0o644);
        let mut cc = Command::new("cc");
        cc.current_dir(self.0.path()).arg("-o").arg(output).arg(source).args(options);
        let outcome = cc.output().unwrap();
        assert!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stderr));
        self.path(output)
    }

    /// `bin/run` needs `lib/libouter.so`, which needs `lib/libinner.so`; both are found through `$ORIGIN`.
    fn program_with_libraries(&self) -> PathBuf {
        fs::create_dir_all(self.path("lib")).unwrap();
        self.compile("lib/libinner.so", "int inner(void) { return 0; }", &["-shared", "-fPIC"]);
        let own = ["-shared", "-fPIC", "-Llib", "-linner", "-Wl,-rpath,$ORIGIN"];
        self.compile("lib/libouter.so", "int inner(void); int outer(void) { return inner(); }", &own);
        fs::create_dir_all(self.path("bin")).unwrap();
        let options = ["-Llib", "-louter", "-Wl,-rpath,$ORIGIN/../lib", "-Wl,-rpath-link,lib"];
        self.compile("bin/run", "int outer(void); int main(void) { return outer(); }", &options)
    }
}

fn refusal(program: &Path) -> String {
    match needs(program) {
        Ok(needs) => panic!("{} is not refused: {needs:?}", program.display()),
        Err(error) => line(&error),
    }
}

#[test]
fn libraries_beside_the_program_are_found_also_through_a_link_to_it() {
    let bench = Bench::new();
    let program = bench.program_with_libraries();
    let linked = bench.path("elsewhere");
    symlink(&program, &linked).unwrap();
    assert!(Command::new(&linked).status().unwrap().success(), "the kernel starts it by that name");
    for name in [program, linked] {
        let Needs::Dynamic { libraries, .. } = needs(&name).unwrap() else { panic!("not dynamic") };
        let wanted = [("libouter.so", "bin/../lib/libouter.so"), ("libinner.so", "bin/../lib/libinner.so")];
        for (name, path) in wanted {
            let library = Library { name: name.into(), path: bench.path(path) };
            assert!(libraries.contains(&library), "{library:?} not in {libraries:?}");
        }
    }
}

#[test]
fn a_missing_library_is_named_with_the_file_that_needs_it() {
    let bench = Bench::new();
    let program = bench.program_with_libraries();
    fs::remove_file(bench.path("lib/libinner.so")).unwrap();
    let told = refusal(&program);
    let needer = bench.path("bin/../lib/libouter.so");
    assert!(
        told.ends_with(&format!(": library libinner.so, which {} needs, is not found", needer.display())),
        "{told}"
    );
}

#[test]
fn static_programs_need_nothing() {
    let bench = Bench::new();
    for option in ["-static", "-static-pie"] {
        let program = bench.compile("alone", "int main(void) { return 0; }", &[option]);
        assert_eq!(needs(&program).unwrap(), Needs::Static, "{option}");
    }
}

#[test]
fn a_program_for_another_machine_is_refused_with_both_names() {
    let bench = Bench::new();
    let program = bench.compile("alone", "int main(void) { return 0; }", &[]);
    let mut bytes = fs::read(&program).unwrap();
    // e_machine of elf(5); 40 is ARM, normally with 32 bits, which does not matter here.
    bytes[18] = 40;
    bytes[19] = 0;
    let other = bench.file("other", &bytes, 0o755);
    let told = refusal(&other);
    assert!(told.contains("it is for ARM (64 bits), this machine is "), "{told}");
    // The ELF class says 32-bit addresses: another machine, even with the same processor.
    let mut narrow = vec![0; 52];
    narrow[..16].copy_from_slice(&bytes[..16]);
    narrow[4] = 1;
    narrow[16] = 2;
    narrow[18] = 62;
    narrow[20] = 1;
    let told = refusal(&bench.file("narrow", &narrow, 0o755));
    assert!(told.contains("it is for x86-64 (32 bits), this machine is "), "{told}");
}

#[test]
fn scripts_lead_to_their_interpreters_and_so_on() {
    let bench = Bench::new();
    let inner = bench.file("inner", b"#!  /bin/sh -e\n", 0o755);
    // The kernel ends the interpreter's path at a blank, so this folder's name must not contain one.
    let folder = TempDir::new().unwrap();
    let short = folder.path().join("inner");
    fs::copy(&inner, &short).unwrap();
    let outer = bench.file("outer", format!("#!{} one two\n", short.display()).as_bytes(), 0o755);
    let Needs::Script { interpreter, by_env: None } = needs(&outer).unwrap() else { panic!("no script") };
    assert_eq!(interpreter.path, short);
    let Needs::Script { interpreter, by_env: None } = interpreter.needs else { panic!("no script inside") };
    assert_eq!(interpreter.path, Path::new("/bin/sh"));
    assert!(matches!(interpreter.needs, Needs::Dynamic { .. }), "{interpreter:?}");
    let by_env = bench.file("by_env", b"#!/usr/bin/env -S sh -e\n", 0o755);
    let Needs::Script { by_env: Some(found), .. } = needs(&by_env).unwrap() else { panic!("env found nothing") };
    assert!(found.path.ends_with("sh"), "{found:?}");
}

#[test]
fn what_cannot_start_is_refused_with_the_reason() {
    let bench = Bench::new();
    let circle = TempDir::new().unwrap();
    let ring = circle.path().join("ring");
    fs::write(&ring, format!("#!{}\n", ring.display())).unwrap();
    fs::set_permissions(&ring, fs::Permissions::from_mode(0o755)).unwrap();
    let dynamic = bench.compile("thing", "int main(void) { return 0; }", &[]);
    let strange = bench.compile("strange", "int main(void) { return 0; }", &["-Wl,--dynamic-linker=/bin/echo"]);
    let library = bench.compile("lib.so", "int one(void) { return 1; }", &["-shared", "-fPIC"]);
    let refusals = [
        (bench.path("nothing"), "No such file or directory (ENOENT)"),
        (bench.path(""), "it is not a regular file"),
        (bench.file("plain", b"echo hello\n", 0o755), "neither an ELF program nor a script"),
        (bench.file("empty", b"", 0o755), "neither an ELF program nor a script"),
        (bench.file("cut", b"\x7fELF", 0o755), "read the ELF file"),
        (bench.file("half", &fs::read(&dynamic).unwrap()[..300], 0o755), "read the ELF file"),
        (bench.file("noexec", b"#!/bin/sh\n", 0o644), "it has no execute permission"),
        (bench.file("blank", b"#!   \n", 0o755), "names no interpreter"),
        (bench.file("windows", b"#!/bin/sh\r\n", 0o755), "like a Windows text"),
        (bench.file("gone", b"#!/no/such/shell\n", 0o755), "cannot find /no/such/shell"),
        (bench.file("env", b"#!/usr/bin/env nosuchshell\n", 0o755), "cannot find nosuchshell, the interpreter of"),
        (ring, "ELOOP"),
        (strange, "/bin/echo as its loader, which is not a known loader"),
        (library, "an object file or a library"),
    ];
    for (program, wanted) in refusals {
        let told = refusal(&program);
        assert!(told.contains(wanted), "{}: {told}", program.display());
    }
}
