//! A class on a Friday evening: hand-ins of every shape, an interruption, and what the tables say at the end.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy's exception for tests leaves out the functions that tests call"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A folder of hand-ins and one for the results.
struct Friday {
    folder: TempDir,
}

impl Friday {
    fn new() -> Self {
        let friday = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(friday.handins()).unwrap();
        friday
    }

    fn handins(&self) -> std::path::PathBuf {
        self.folder.path().join("hand-ins")
    }

    fn out(&self, file: &str) -> std::path::PathBuf {
        self.folder.path().join("marks").join(file)
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.out(file)).unwrap()
    }

    /// Hands in a program of the zoo, under a name of its own.
    fn hands_in(&self, name: &str, program: &str) {
        let zoo = self.folder.path().join("zoo");
        let unpacked = run(grade().args(["self-test", "--only", program, "--unpack"]).arg(&zoo));
        let from = String::from_utf8(unpacked.stdout).unwrap();
        assert!(
            Command::new("cp").arg("-r").arg(from.trim()).arg(self.handins().join(name)).status().unwrap().success()
        );
    }

    fn class(&self) -> Command {
        let mut command = grade();
        command.arg("class").arg(self.handins()).arg("--out").arg(self.out("")).args(["--task", "task1"]);
        command
    }

    /// The row of a student in `marks.csv`.
    fn row(&self, id: &str) -> String {
        let csv = self.read("marks.csv");
        csv.lines().find(|line| line.starts_with(&format!("{id},"))).unwrap_or_else(|| panic!("{id}: {csv}")).to_owned()
    }
}

fn grade() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grade"));
    command.stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A program for task 1 that does not end by itself.
fn hangs(folder: &Path) {
    fs::create_dir(folder).unwrap();
    fs::write(folder.join("namespace_prog.sh"), "sleep 1000").unwrap();
}

fn is_alive(child: &mut Child) -> bool {
    child.try_wait().unwrap().is_none()
}

#[test]
#[ignore = "needs root: make test"]
fn hand_ins_of_every_shape_have_a_row_each_and_the_exit_code_says_that_some_are_not_final() {
    let friday = Friday::new();
    friday.hands_in("24m0001_assignment3", "c-clone3");
    friday.hands_in("24m0002", "no-uts-flag");
    let pack = ["-C", "hand-ins", "-czf", "hand-ins/24M0002_assignment3_submission.tar.gz", "24m0002"];
    assert!(Command::new("tar").args(pack).current_dir(friday.folder.path()).status().unwrap().success());
    fs::remove_dir_all(friday.handins().join("24m0002")).unwrap();
    fs::create_dir(friday.handins().join("24m0003")).unwrap();
    fs::create_dir(friday.handins().join("24m0004")).unwrap();
    fs::write(friday.handins().join("24m0004/namespace_prog.c"), "int main( {").unwrap();
    friday.hands_in("24m0005 first", "c-clone3");
    friday.hands_in("24m0005 again", "c-clone3");
    friday.hands_in("24m0006 <script>alert(1)", "c-clone3");
    symlink("/etc", friday.handins().join("24m0007")).unwrap();
    fs::write(friday.handins().join("24m0008.zip"), "no zip").unwrap();
    friday.hands_in("=cmd() \u{1b}[2J", "c-clone3");
    let roster = friday.folder.path().join("class.csv");
    let names = ["\"Lovelace, Ada\",24m0001", "=cmd(),24m0002", "C,24m0003", "D,24m0004", "E,24m0005"];
    let names = names.join("\n") + "\n<b>G</b>,24m0006\nH,24m0007\nI,24m0008\nJ,24m0009\n";
    fs::write(&roster, format!("Name,Roll No\n{names}")).unwrap();

    let output = run(friday.class().args(["--jobs", "2", "--roster"]).arg(&roster));
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    for (id, begins, says) in [
        ("24m0001", "24m0001,\"Lovelace, Ada\",20,20,final,20,", ""),
        ("24m0002", "24m0002,'=cmd(),14,20,final,14,", "unpacked 24M0002_assignment3_submission.tar.gz"),
        ("24m0003", "24m0003,C,0,20,final,0,", "task 1: not handed in"),
        ("24m0004", "24m0004,D,0,20,final,0,", "does not build: namespace_prog.c:1:11: error"),
        ("24m0005", "24m0005,E,0,20,not final,0,", "2 hand-ins: 24m0005 again, 24m0005 first; leave the one"),
        ("24m0006", "24m0006,<b>G</b>,20,20,final,20,", ""),
        ("24m0007", "24m0007,H,0,20,not final,0,", "it is a symbolic link"),
        ("24m0008", "24m0008,I,0,20,not final,0,", "cannot read it as a zip"),
        ("24m0009", "24m0009,J,0,20,final,0,", "nothing was handed in"),
        ("_cmd_____2J", "_cmd_____2J,'=cmd() ␛[2J,20,20,final,20,", "no roll number of the roster stands in its name"),
    ] {
        let row = friday.row(id);
        assert!(row.starts_with(begins) && row.contains(says), "{row}");
    }
    assert_eq!(friday.read("marks.csv").lines().count(), 11);
    let page = friday.read("class.html");
    assert!(!page.contains("<b>G") && page.contains("&lt;b&gt;G&lt;/b&gt;") && !page.contains('\u{1b}'));
    assert!(page.contains("href=\"./students/24m0002/feedback.html\""));
    let feedback = friday.read("students/24m0002/feedback.html");
    assert!(feedback.contains("14 of 20") && feedback.contains("the kernel said"), "{feedback}");
    let results: serde_json::Value = serde_json::from_str(&friday.read("students/24m0002/results.json")).unwrap();
    assert_eq!(results["score"], 14);
    assert!(friday.read("students/24m0002/report.txt").contains("child1.uts"));
}

#[test]
#[ignore = "needs root: make test"]
fn the_same_command_grades_only_what_is_new() {
    let friday = Friday::new();
    friday.hands_in("24m0001", "c-clone3");
    friday.hands_in("24m0002", "c-clone");
    let first = run(&mut friday.class());
    assert_eq!(first.status.code(), Some(0), "{}", said(&first));
    assert_eq!(said(&first).lines().count(), 2, "{}", said(&first));
    assert_eq!(said(&run(&mut friday.class())), "");
    // A change of one hand-in, and one that is new.
    let program = friday.handins().join("24m0002/task1/namespace_prog.c");
    let source = fs::read_to_string(&program).unwrap();
    fs::write(&program, format!("// changed\n{source}")).unwrap();
    friday.hands_in("24m0003", "no-uts-flag");
    let third = run(&mut friday.class());
    let graded: Vec<String> = said(&third).lines().map(str::to_owned).collect();
    assert!(graded.len() == 2 && graded[0].contains(" 24m0002 ") && graded[1].contains(" 24m0003 "), "{graded:?}");
    // The records are judged again, and say the same; nothing runs.
    let before = friday.read("marks.csv");
    fs::remove_dir_all(friday.handins().join("24m0001")).unwrap();
    friday.hands_in("24m0001", "no-uts-flag");
    let again = run(friday.class().arg("--rejudge"));
    assert_eq!((again.status.code(), friday.read("marks.csv")), (Some(0), before), "{}", said(&again));
}

#[test]
#[ignore = "needs root: make test"]
fn ctrl_c_ends_it_soon_leaves_nothing_running_and_loses_only_what_was_in_work() {
    let friday = Friday::new();
    friday.hands_in("24m0001", "c-clone3");
    hangs(&friday.handins().join("24m0002"));
    let begins = |task: &Path| task.join("stderr").exists();
    for (signal, code) in [("-INT", Some(130)), ("-TERM", Some(143)), ("-KILL", None)] {
        let mut class = friday.class().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let start = Instant::now();
        while !begins(&friday.out("kept/24m0002/task1.part")) || start.elapsed() < Duration::from_secs(1) {
            assert!(is_alive(&mut class) && start.elapsed() < Duration::from_secs(300));
            std::thread::sleep(Duration::from_millis(20));
        }
        let workers = || {
            let found = Command::new("pgrep").args(["-f", "--", "--end-with-parent"]).output().unwrap().stdout;
            let pids = String::from_utf8(found).unwrap();
            let ours = |pid: &&str| {
                fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(friday.folder.path()))
            };
            pids.lines().filter(ours).count()
        };
        while workers() == 0 {
            assert!(is_alive(&mut class) && start.elapsed() < Duration::from_secs(300));
            std::thread::sleep(Duration::from_millis(20));
        }
        let killed = Command::new("kill").args([signal, &class.id().to_string()]).status().unwrap();
        assert!(killed.success());
        assert_eq!(class.wait().unwrap().code(), code, "{signal}");
        let start = Instant::now();
        while workers() > 0 {
            assert!(start.elapsed() < Duration::from_secs(60), "{signal}: a worker goes on");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(friday.out("kept/24m0001/task1/report.json").exists(), "what was graded is kept");
        assert!(!friday.out("kept/24m0002/task1").exists(), "what was in work is not taken for whole");
        fs::remove_dir_all(friday.out("kept/24m0002")).unwrap();
    }
    fs::remove_dir_all(friday.handins().join("24m0002")).unwrap();
    friday.hands_in("24m0002", "c-clone");
    let output = run(&mut friday.class());
    assert_eq!((output.status.code(), said(&output).lines().count()), (Some(0), 1), "{}", said(&output));
}

#[test]
#[ignore = "needs root: make test"]
fn moodles_export_is_read_as_it_is_and_marks_go_back_by_moodles_numbers() {
    let friday = Friday::new();
    let entry = "Ada King_271828_assignsubmission_file_";
    friday.hands_in(entry, "c-clone3");
    fs::create_dir(friday.handins().join("Bob_314159_assignsubmission_onlinetext_")).unwrap();
    let export = friday.folder.path().join("export.zip");
    let zip = "import shutil, sys; shutil.make_archive(sys.argv[1][:-4], 'zip', sys.argv[2])";
    let zipped = Command::new("python3").args(["-c", zip]).arg(&export).arg(friday.handins()).status().unwrap();
    assert!(zipped.success());
    let mut command = grade();
    let output = run(command.arg("class").arg(&export).arg("--out").arg(friday.out("")).args(["--task", "task1"]));
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(
        friday.read("moodle.csv"),
        "Identifier,Full name,Grade,Maximum Grade\nParticipant 271828,Ada King,20,20\n"
    );
}

#[test]
fn what_cannot_be_graded_at_all_is_one_line_and_makes_nothing() {
    let friday = Friday::new();
    let refusal = |command: &mut Command| {
        let output = run(command);
        assert_eq!((output.status.code(), said(&output).lines().count()), (Some(2), 1), "{}", said(&output));
        said(&output)
    };
    assert!(refusal(&mut friday.class()).contains("there is no hand-in in it"));
    fs::write(friday.handins().join("24m0001.zip"), "").unwrap();
    let roster = friday.folder.path().join("class.csv");
    assert!(refusal(friday.class().arg("--roster").arg(&roster)).contains("class.csv"));
    fs::write(&roster, "who\na\n").unwrap();
    assert!(
        refusal(friday.class().arg("--roster").arg(&roster)).contains("no column of its first line is called roll")
    );
    let mut inside = grade();
    inside.arg("class").arg(friday.handins()).arg("--out").arg(friday.handins().join("out"));
    assert!(refusal(&mut inside).contains("would be taken for a hand-in"));
    assert!(!friday.handins().join("out").exists(), "nothing stays");
    let own = friday.folder.path().join("own");
    fs::create_dir(&own).unwrap();
    fs::write(own.join("marks.csv"), "precious").unwrap();
    let mut into = grade();
    assert!(refusal(into.arg("class").arg(friday.handins()).arg("--out").arg(&own)).contains("is neither empty nor"));
    assert_eq!(fs::read_dir(&own).unwrap().count(), 1, "nothing is added");
    let lock = fs::File::create(friday.out(".grade-class")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert!(refusal(&mut friday.class()).contains("another grade class is at work in"));
}
