//! What is handed out and what comes back, by the command line: `grade starter`, `changes` and `graft`. That a starter
//! compiles and is worth nothing is `.ci/starter`, because it takes minutes.

#![allow(clippy::unwrap_used, reason = "clippy's exception for tests leaves out the functions that tests call")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const TASKS: [&str; 4] = ["task1-namespaces", "task2-cli-container", "task3-conductor", "task4-services"];
const LESSON: &str = "task1-namespaces/src/main.rs";

/// A workspace that git keeps, of this one's tasks, with a solution in the zoo and a file that only lies there.
fn workspace() -> (TempDir, PathBuf) {
    let temp = TempDir::new().unwrap();
    let root = temp.path().join("kit");
    fs::create_dir_all(root.join("crates/grader/zoo/right")).unwrap();
    fs::write(root.join("crates/grader/zoo/right/answer.c"), "int main() {}\n").unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    done(Command::new("cp").arg(here.join(".gitignore")).arg(&root));
    for task in TASKS {
        done(Command::new("cp").arg("-r").arg(here.join(task)).arg(&root));
    }
    let git = |words: &[&str]| done(Command::new("git").arg("-C").arg(&root).args(words));
    git(&["init", "--quiet"]);
    git(&["add", "--all"]);
    fs::write(root.join("task1-namespaces/my-notes.txt"), "private\n").unwrap();
    (temp, root)
}

fn done(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn grade(root: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_grade")).args(words).current_dir(root).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn replace(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{from} in {}", file.display());
    fs::write(file, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn a_starter_has_every_lesson_unwritten_and_nothing_that_git_does_not_keep() {
    let (_temp, root) = workspace();
    let made = grade(&root, &["starter", "../starter"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert!(stdout(&made).ends_with("13 lessons to write in ../starter\n"), "{}", stdout(&made));
    let starter = root.with_file_name("starter");
    let text = fs::read_to_string(starter.join(LESSON)).unwrap();
    assert_eq!(text.matches("    todo!(\"Lesson 1.").count(), 3, "{text}");
    assert!(!text.contains("setns(child1, CloneFlags") && text.contains("fn run(options: &Options)"), "{text}");
    assert!(!starter.join("task1-namespaces/my-notes.txt").exists() && !starter.join("crates/grader/zoo").exists());
    let script = fs::metadata(starter.join("task3-conductor/conductor.sh")).unwrap();
    assert_eq!(script.permissions(), fs::metadata(root.join("task3-conductor/conductor.sh")).unwrap().permissions());
    let git = |words: &[&str]| {
        let output = Command::new("git").arg("-C").arg(&starter).args(words).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        stdout(&output)
    };
    assert_eq!(git(&["log", "--format=%s"]), "The handout\n");
    assert_eq!(git(&["status", "--short", "--ignored"]), "");
    let again = grade(&root, &["starter", "../starter"]);
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("cannot make ../starter: File exists"));
}

#[test]
fn without_git_there_is_no_half_of_a_starter() {
    let (temp, root) = workspace();
    // One that lists, and nothing more.
    let git = temp.path().join("git");
    fs::write(&git, "#!/bin/sh\n[ \"$3\" != init ] || { echo 'disk full' >&2; exit 128; }\nexec /usr/bin/git \"$@\"\n")
        .unwrap();
    done(Command::new("chmod").arg("+x").arg(&git));
    let mut command = Command::new(env!("CARGO_BIN_EXE_grade"));
    let refused = command.args(["starter", "../starter"]).current_dir(&root).env("PATH", temp.path()).output().unwrap();
    assert_eq!(refused.status.code(), Some(3));
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("git cannot keep ../starter: disk full"), "{why}");
    assert!(!root.with_file_name("starter").exists());
}

#[test]
fn a_lesson_whose_marks_differ_from_its_checks_is_no_starter() {
    let (_temp, root) = workspace();
    replace(&root.join(LESSON), "# Lesson 1.b (4 marks)", "# Lesson 1.b (5 marks)");
    let refused = grade(&root, &["starter", "../starter"]);
    assert_eq!(refused.status.code(), Some(2));
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    let line =
        fs::read_to_string(root.join(LESSON)).unwrap().lines().position(|l| l.contains("# Lesson 1.b (")).unwrap() + 1;
    let place = format!("task1-namespaces/src/main.rs:{line}: lesson 1.b says 5 marks, its checks 4");
    assert!(why.contains(&place), "{why}");
    assert!(!root.with_file_name("starter").exists());
}

#[test]
fn marks_that_the_instructor_changed_after_the_handout_are_no_change_of_a_student() {
    let (_temp, root) = workspace();
    assert!(grade(&root, &["starter", "../24m0001_assignment3"]).status.success());
    replace(&root.join(LESSON), "# Lesson 1.b (4 marks)", "# Lesson 1.b (5 marks)");
    replace(&root.join("task1-namespaces/expected/rubric.toml"), "marks = 2", "marks = 7");
    let changes = grade(&root, &["changes", "../24m0001_assignment3"]);
    assert!(changes.status.success(), "{}", stdout(&changes));
}

#[test]
fn what_a_student_changed_beside_the_lessons_is_told_and_left_out_of_a_graft() {
    let (_temp, root) = workspace();
    let theirs = root.with_file_name("24m0001_assignment3");
    assert!(grade(&root, &["starter", "../24m0001_assignment3"]).status.success());
    let written = "{ /* mine */ setns(child1, CloneFlags::CLONE_NEWUTS)?; introduce(\"Child2\") }";
    replace(&theirs.join(LESSON), "{\n    todo!(\"Lesson 1.c: let child 2 join child 1's UTS namespace\")\n}", written);
    let clean = grade(&root, &["changes", "../24m0001_assignment3"]);
    assert!(clean.status.success(), "{}", stdout(&clean));

    replace(&theirs.join(LESSON), "\"Child1Hostname\"", "\"another\"");
    fs::remove_file(theirs.join("task2-cli-container/README.md")).unwrap();
    fs::write(theirs.join("task3-conductor/build.rs"), "fn main() {}\n").unwrap();
    let changes = grade(&root, &["changes", "../24m0001_assignment3"]);
    assert_eq!(changes.status.code(), Some(1));
    let told: Vec<String> = stdout(&changes).lines().map(str::to_owned).collect();
    let all = [
        "changed  task1-namespaces/src/main.rs",
        "missing  task2-cli-container/README.md",
        "added    task3-conductor/build.rs",
    ];
    assert_eq!(told, all);

    let grafted = grade(&root, &["graft", "../24m0001_assignment3", "../graft"]);
    assert!(grafted.status.success(), "{}", String::from_utf8_lossy(&grafted.stderr));
    let graft = root.with_file_name("graft");
    let text = fs::read_to_string(graft.join(LESSON)).unwrap();
    assert!(
        text.contains(written) && text.contains("\"Child1Hostname\"") && text.contains("todo!(\"Lesson 1.a"),
        "{text}"
    );
    assert!(!graft.join("task3-conductor/build.rs").exists() && graft.join("task2-cli-container/README.md").exists());
}

#[test]
fn what_a_student_builds_is_no_change_and_what_else_is_planted_is_told() {
    let (_temp, root) = workspace();
    let theirs = root.with_file_name("24m0001_assignment3");
    assert!(grade(&root, &["starter", "../24m0001_assignment3"]).status.success());
    for built in ["target/release/x", "task4-services/counter-service/counter-service", "task3-conductor/.images/i/x"] {
        fs::create_dir_all(theirs.join(built).parent().unwrap()).unwrap();
        fs::write(theirs.join(built), "").unwrap();
    }
    assert!(grade(&root, &["changes", "../24m0001_assignment3"]).status.success());
    // One that lies here, but is nobody's, is no excuse for one that lies there.
    fs::write(theirs.join("task1-namespaces/my-notes.txt"), "mine\n").unwrap();
    fs::write(theirs.join(":(wrong)"), "a name, though git has another use for it\n").unwrap();
    fs::create_dir_all(theirs.join("task1-namespaces/src/bin/target")).unwrap();
    fs::write(theirs.join("task1-namespaces/src/bin/target/main.rs"), "fn main() {}\n").unwrap();
    done(Command::new("chmod").arg("-x").arg(theirs.join("task3-conductor/conductor.sh")));
    let changes = grade(&root, &["changes", "../24m0001_assignment3"]);
    let told: Vec<String> = stdout(&changes).lines().map(str::to_owned).collect();
    let all = [
        "changed  task3-conductor/conductor.sh: whether it can be executed",
        "added    :(wrong)",
        "added    task1-namespaces/my-notes.txt",
        "added    task1-namespaces/src/bin/target/main.rs",
    ];
    assert_eq!(told, all);
}

#[test]
fn a_folder_where_we_have_a_link_is_told_with_what_is_in_it() {
    let (_temp, root) = workspace();
    let ours = Path::new("task1-namespaces/link");
    std::os::unix::fs::symlink("README.md", root.join(ours)).unwrap();
    done(Command::new("git").arg("-C").arg(&root).arg("add").arg(ours));
    let theirs = root.with_file_name("24m0001_assignment3");
    assert!(grade(&root, &["starter", "../24m0001_assignment3"]).status.success());
    fs::remove_file(theirs.join(ours)).unwrap();
    fs::create_dir(theirs.join(ours)).unwrap();
    fs::write(theirs.join(ours).join("x"), "").unwrap();
    let changes = grade(&root, &["changes", "../24m0001_assignment3"]);
    assert_eq!(changes.status.code(), Some(1), "{}", String::from_utf8_lossy(&changes.stderr));
    assert_eq!(stdout(&changes), "changed  task1-namespaces/link: it is no file\nadded    task1-namespaces/link/x\n");
}

#[test]
fn a_link_to_the_solution_is_no_solution_and_what_never_ends_is_not_waited_for() {
    let (_temp, root) = workspace();
    let theirs = root.with_file_name("24m0001_assignment3");
    assert!(grade(&root, &["starter", "../24m0001_assignment3"]).status.success());
    let (folder, file) = (theirs.join("task2-cli-container/src"), theirs.join(LESSON));
    fs::remove_dir_all(&folder).unwrap();
    std::os::unix::fs::symlink(root.join("task2-cli-container/src"), &folder).unwrap();
    fs::remove_file(&file).unwrap();
    done(Command::new("mkfifo").arg(&file));

    let changes = grade(&root, &["changes", "../24m0001_assignment3"]);
    assert_eq!(changes.status.code(), Some(1));
    let told = stdout(&changes);
    assert!(told.contains("changed  task1-namespaces/src/main.rs: it is no file\n"), "{told}");
    assert!(told.contains("task2-cli-container/src/subtask.rs: it is a link, or lies behind one\n"), "{told}");
    let grafted = grade(&root, &["graft", "../24m0001_assignment3", "../graft"]);
    assert_eq!(grafted.status.code(), Some(1));
    let told = stdout(&grafted);
    assert!(told.contains("unwritten  1.a, task1-namespaces/src/main.rs: it is no file\n"), "{told}");
    assert!(told.ends_with("functions of ../24m0001_assignment3 in ../graft\n"), "{told}");
    let text = fs::read_to_string(root.with_file_name("graft").join("task2-cli-container/src/subtask.rs"));
    assert!(text.unwrap().contains("todo!(\"Lesson 2."));
}

#[test]
fn a_submission_in_another_language_cannot_be_compared_and_that_is_said() {
    let (_temp, root) = workspace();
    let refused = grade(&root, &["changes", ".."]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is no workspace like this one"));
}
