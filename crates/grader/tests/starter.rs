//! What is handed out and what comes back, by the command line: `grade starter`, `changes` and `graft`. That a starter
//! compiles and is worth nothing is `.ci/starter`, because it takes minutes. What holds of both editions is tried in that of C
//! and bash, where nothing has to be compiled for it.

#![allow(clippy::unwrap_used, reason = "clippy's exception for tests leaves out the functions that tests call")]

use std::collections::BTreeMap;
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
    done(Command::new("cp").arg(here.join(".gitignore")).arg(here.join("Makefile")).arg(&root));
    for folder in TASKS.into_iter().chain(["editions"]) {
        done(Command::new("cp").arg("-r").arg(here.join(folder)).arg(&root));
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
    // What is allowed is what an unwritten lesson cannot use; a result that is dropped stays a warning.
    let allowed = "#![allow(unused_imports, unused_variables, dead_code, clippy::todo)]";
    assert!(text.contains(allowed), "{text}");
    let floor = fs::read_to_string(starter.join("task3-conductor/bench/floor.rs")).unwrap();
    assert!(floor.contains("withheld with Lesson 3.a") && !floor.contains("pivot_root(\".\""), "{floor}");
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
    assert!(told.ends_with("sections of ../24m0001_assignment3 in ../graft\n"), "{told}");
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

/// The files of a folder that git would keep, with what is in them.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut folders, mut found) = (vec![folder.to_owned()], BTreeMap::new());
    while let Some(next) = folders.pop() {
        for path in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            match path.is_dir() {
                true if path.ends_with(".git") => {}
                true => folders.push(path),
                false => {
                    found.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap());
                }
            }
        }
    }
    found
}

/// What students of C get, beside `root`.
fn starter_in_c(root: &Path) -> PathBuf {
    let made = grade(root, &["starter", "../handout", "--edition", "c"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert!(stdout(&made).ends_with("13 lessons to write in ../handout\n"), "{}", stdout(&made));
    root.with_file_name("handout")
}

#[test]
fn an_edition_s_solution_is_not_in_the_others_starter() {
    let (_temp, root) = workspace();
    assert!(grade(&root, &["starter", "../starter"]).status.success());
    let editions: Vec<_> = files(&root.with_file_name("starter").join("editions")).into_keys().collect();
    let shared = [
        "c/task2/container_prog.c",
        "c/task4/counter-service/Makefile",
        "c/task4/counter-service/counter-service.c",
        "c/task4/counter-service/run.sh",
        "c/task4/external-service/app.py",
        "c/task4/external-service/run.sh",
        "handin",
    ];
    assert_eq!(editions, shared.map(PathBuf::from), "what the grader brings, and the way to hand in");
    let again = grade(&root.with_file_name("starter"), &["starter", "../other", "--edition", "c"]);
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("lacks the edition in C and bash"));
}

#[test]
fn a_starter_in_c_is_complete_and_sections_put_back_into_it_give_the_solution() {
    let (_temp, root) = workspace();
    let handout = starter_in_c(&root);
    let solution = files(&root.join("editions/c"));
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&files(&handout)), names(&solution));
    let text = fs::read_to_string(handout.join("task1/namespace_prog.c")).unwrap();
    assert_eq!(text.matches("not yet implemented: Lesson 1.").count(), 3, "{text}");
    assert!(!text.contains("clone(child1") && text.contains("introduce(\"Child1\")"), "{text}");
    assert!(fs::symlink_metadata(handout.join("handin")).unwrap().is_file(), "no link out of the handout");
    done(
        Command::new("make")
            .args(["--silent", "build"])
            .env("CFLAGS", "-Wall -Wextra -Wno-unused -Werror")
            .current_dir(&handout),
    );
    done(Command::new("make").args(["--silent", "clean"]).current_dir(&handout));

    // Nobody but its owner wrote it, so what is only there counts as well.
    done(Command::new("cp").arg("-rL").arg(root.join("editions/c")).arg(root.with_file_name("theirs")));
    let changes = grade(&root, &["changes", "../theirs"]);
    assert!(changes.status.success(), "{}", stdout(&changes));
    let grafted = grade(&root, &["graft", "../theirs", "../graft"]);
    assert!(grafted.status.success(), "{}", stdout(&grafted));
    assert_eq!(files(&root.with_file_name("graft")), solution);
    assert!(grade(&root, &["changes", "../handout"]).status.success());
}

#[test]
fn in_c_too_what_is_changed_beside_the_lessons_is_told_and_left_out_of_a_graft() {
    let (_temp, root) = workspace();
    let theirs = starter_in_c(&root);
    let script = theirs.join("task3/conductor.sh");
    replace(
        &script,
        "    echo \"not yet implemented: Lesson 3.b: let a new process join a container\" >&2\n",
        "    mine\n",
    );
    replace(&script, "echo 'No images found'", "echo 'none'");
    fs::remove_file(theirs.join("task2/simple_container.sh")).unwrap();
    fs::remove_file(theirs.join("task2/container_prog.c")).unwrap();
    fs::write(theirs.join("task4/page.log"), "").unwrap();
    fs::write(theirs.join("task4/helper.sh"), "").unwrap();
    let changes = grade(&root, &["changes", "../handout"]);
    assert_eq!(changes.status.code(), Some(1));
    let told: Vec<String> = stdout(&changes).lines().map(str::to_owned).collect();
    let all = ["missing  task2/simple_container.sh", "changed  task3/conductor.sh", "added    task4/helper.sh"];
    assert_eq!(told, all, "of what is not collected, nothing is missed");
    let grafted = grade(&root, &["graft", "../handout", "../graft"]);
    assert_eq!(grafted.status.code(), Some(1));
    assert!(stdout(&grafted).contains("unwritten  2.a, task2/simple_container.sh: there is no such file\n"));
    let text = fs::read_to_string(root.with_file_name("graft").join("task3/conductor.sh")).unwrap();
    assert!(text.contains("    mine\n") && text.contains("echo 'No images found'"), "{text}");
}

#[test]
fn a_lesson_s_sheet_in_c_names_its_marks_and_its_checks() {
    let editions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../editions/c");
    for task in ["task1", "task2", "task3", "task4"] {
        let listed = stdout(&grade(&editions, &["list", task]));
        let mut lessons: BTreeMap<String, (u32, Vec<String>)> = BTreeMap::new();
        for line in listed.lines().filter(|line| line.contains(" Lesson ")) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (marks, checks) = lessons.entry(words[3].to_owned()).or_default();
            *marks += words[0].parse::<u32>().unwrap();
            // In C, task 1's mark for the method is one for the outcome.
            checks.extend((words[1] != "method").then(|| format!("`{}`", words[1])));
        }
        let sheet = fs::read_to_string(editions.join(task).join("README.md")).unwrap();
        for (lesson, (marks, checks)) in &lessons {
            let row = format!("| {lesson} | {marks} | {} |", checks.join(" "));
            assert!(sheet.contains(&row), "{task}: {row}");
        }
        assert!(lessons.len() >= 3, "{listed}");
    }
}

/// One check of a report.
#[derive(Debug)]
struct Check {
    id: String,
    lesson: Option<String>,
    verdict: String,
    lost: u64,
    given: u64,
    /// Whether all that is lost could not be tried.
    is_untried: bool,
}

/// What `task` of a folder is worth, by check.
fn graded(task: &str, folder: &Path) -> Vec<Check> {
    let report = grade(folder, &[task, "--submission", folder.to_str().unwrap(), "--format", "json"]);
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
    let checks = report["tests"].as_array().unwrap().iter().map(|test| {
        let about = &test["extra_data"];
        let text = |key: &str| about[key].as_str().map(str::to_owned);
        let marks = |key: &str| test[key].as_u64().unwrap();
        let is_untried =
            |loss: &serde_json::Value| loss["observed"].as_str().is_some_and(|why| why.contains("not tried"));
        Check {
            id: text("id").unwrap(),
            lesson: text("lesson"),
            verdict: text("verdict").unwrap(),
            lost: marks("max_score") - marks("score"),
            given: marks("score"),
            is_untried: about["losses"].as_array().unwrap().iter().all(is_untried),
        }
    });
    checks.collect()
}

/// The solution in C and bash with one lesson left unwritten.
fn without_lesson(root: &Path, lesson: &str) -> PathBuf {
    let theirs = root.with_file_name(format!("without-{lesson}"));
    done(Command::new("cp").arg("-rL").arg(root.join("editions/c")).arg(&theirs));
    for file in
        ["task1/namespace_prog.c", "task2/simple_container.sh", "task3/conductor.sh", "task4/service-orchestrator.sh"]
    {
        let text = fs::read_to_string(theirs.join(file)).unwrap();
        let is_marker = |line: &&str| line.contains(&format!("LESSON {lesson}"));
        fs::write(theirs.join(file), text.split_inclusive('\n').filter(|line| !is_marker(line)).collect::<String>())
            .unwrap();
    }
    let grafted = root.with_file_name(format!("grafted-{lesson}"));
    let told = stdout(&grade(root, &["graft", theirs.to_str().unwrap(), grafted.to_str().unwrap()]));
    assert!(told.starts_with(&format!("unwritten  {lesson}, task")) && told.contains("\n12 sections of "), "{told}");
    grafted
}

/// A lesson that is not written costs its own checks, and keeps others from being tried at most: none is lost by it.
fn costs_its_own_checks(lessons: &[&str]) {
    let (_temp, root) = workspace();
    for unwritten in lessons {
        let task = format!("task{}", unwritten.get(..1).unwrap());
        let checks = graded(&task, &without_lesson(&root, unwritten));
        for check in &checks {
            let told = format!("without {unwritten}: {check:?}");
            match check.lesson.as_deref() {
                Some(own) if own == *unwritten => {
                    assert!(check.given == 0 && ["not-started", "blocked"].contains(&check.verdict.as_str()), "{told}");
                }
                // A program comes to its lessons in their order; a tool's commands are tried one by one.
                Some(other) if other < *unwritten && ["task1", "task2"].contains(&task.as_str()) => {
                    assert_eq!(check.lost, 0, "{told}");
                }
                _ => assert!(check.lost == 0 || check.verdict == "blocked" || check.is_untried, "{told}"),
            }
        }
        assert!(checks.iter().any(|check| check.verdict == "not-started"), "{unwritten}: {checks:?}");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn an_unwritten_lesson_of_tasks_1_and_2_costs_its_own_checks() {
    costs_its_own_checks(&["1.a", "1.b", "1.c", "2.a", "2.b", "2.c"]);
}

#[test]
#[ignore = "needs root: make test"]
fn an_unwritten_lesson_of_task_3_costs_its_own_checks() {
    costs_its_own_checks(&["3.a", "3.b", "3.c"]);
}

#[test]
#[ignore = "needs root: make test"]
fn an_unwritten_lesson_of_task_4_costs_its_own_checks() {
    costs_its_own_checks(&["4.a", "4.b", "4.c", "4.d"]);
}

#[test]
#[ignore = "needs root: make test"]
fn the_solution_in_c_and_bash_has_all_marks() {
    let (_temp, root) = workspace();
    let most = [("task1", 20), ("task2", 30), ("task3", 50), ("task4", 30)];
    for (task, marks) in most {
        let checks = graded(task, &root.join("editions/c"));
        assert_eq!(checks.iter().map(|check| check.given).sum::<u64>(), marks, "{checks:?}");
        let named = checks.iter().filter(|check| check.lesson.is_some()).count();
        assert!(named > 3 && checks.iter().all(|check| check.id != "method"), "{checks:?}");
    }
}

/// `make handin` as somebody types it who has told git nothing.
fn hand_in(folder: &Path, words: &[&str]) -> Output {
    let home = folder.with_file_name("home");
    fs::create_dir_all(&home).unwrap();
    let mut make = Command::new("make");
    make.arg("handin").args(words).current_dir(folder).env("HOME", &home).env("GIT_CONFIG_NOSYSTEM", "1");
    for (key, _) in std::env::vars_os()
        .filter(|(key, _)| ["GIT_", "MAKE"].iter().any(|word| key.to_string_lossy().starts_with(word)))
    {
        make.env_remove(key);
    }
    make.output().unwrap()
}

/// The names in an archive.
fn packed(archive: &Path) -> Vec<String> {
    let output = Command::new("tar").arg("-tzf").arg(archive).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    stdout(&output).lines().map(str::to_owned).collect()
}

#[test]
fn what_is_not_committed_or_not_written_is_handed_in_only_when_asked_for() {
    let (_temp, root) = workspace();
    assert!(grade(&root, &["starter", "../in-rust"]).status.success());
    let mine = "{ setns(child1, CloneFlags::CLONE_NEWUTS)?; introduce(\"Child2\") }";
    let rust = root.with_file_name("in-rust");
    replace(&rust.join(LESSON), "{\n    todo!(\"Lesson 1.c: let child 2 join child 1's UTS namespace\")\n}", mine);
    let c = starter_in_c(&root);
    let says = "    fprintf(stderr, \"not yet implemented: Lesson 1.c: let child 2 join child 1's UTS namespace\\n\");\n    exit(1);\n";
    replace(&c.join("task1/namespace_prog.c"), says, "    (void)pidfd; /* mine */\n");
    let archive = root.with_file_name("home").join("24m0001_assignment3.tar.gz");
    for (folder, lesson) in [(&rust, LESSON), (&c, "task1/namespace_prog.c")] {
        let nobody = hand_in(folder, &[]);
        assert!(
            !nobody.status.success() && String::from_utf8_lossy(&nobody.stderr).contains("say whose it is"),
            "{nobody:?}"
        );
        let refused = hand_in(folder, &["ROLL=24m0001"]);
        let why = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && !archive.exists(), "{why}");
        assert!(why.contains(&format!("Not committed:\n  {lesson}\n")), "{why}");
        assert!(why.contains("Lesson 1.a is not written") && !why.contains("Lesson 1.c is"), "{why}");
        let done = hand_in(folder, &["ROLL=24m0001", "ANYWAY=yes"]);
        assert!(done.status.success(), "{done:?}");
        let told = stdout(&done);
        let first = told.lines().next().unwrap_or_default();
        assert!(first.starts_with(archive.to_str().unwrap()) && told.contains(lesson), "{told}");
        let names = packed(&archive);
        if *folder == c {
            let files: Vec<&str> = names.iter().map(String::as_str).filter(|name| !name.ends_with('/')).collect();
            assert_eq!(files.len(), 5, "{files:?}");
            assert!(files.contains(&"24m0001_assignment3_submission/task3/config.sh"), "{files:?}");
        } else {
            let wanted = ["24m0001_assignment3/.git/HEAD", "24m0001_assignment3/task1-namespaces/src/main.rs"];
            assert!(wanted.iter().all(|name| names.iter().any(|it| it == name)), "{names:?}");
        }
        let into = TempDir::new().unwrap();
        self::done(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(into.path()));
        let theirs = fs::read_dir(into.path()).unwrap().next().unwrap().unwrap().path();
        assert!(fs::read_to_string(theirs.join(lesson)).unwrap().contains("mine") || *folder == rust);
        let changes = grade(&root, &["changes", theirs.to_str().unwrap()]);
        assert!(changes.status.success(), "{}", stdout(&changes));
        fs::remove_file(&archive).unwrap();
    }
}

#[test]
fn help_in_a_handout_has_no_word_of_the_course_s() {
    let (_temp, root) = workspace();
    assert!(grade(&root, &["starter", "../starter"]).status.success());
    let help = |folder: &Path| stdout(&Command::new("make").arg("help").current_dir(folder).output().unwrap());
    let theirs = [help(&root.with_file_name("starter")), help(&starter_in_c(&root))];
    for text in &theirs {
        let words: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert!(["help", "check-task1", "handin", "clean"].iter().all(|word| words.contains(word)), "{text}");
        for word in ["self-test", "starter", "check-class", "bless", "prove", "msrv"] {
            assert!(!words.contains(&word), "{word} in {text}");
        }
    }
    let ours = help(&root);
    assert!(ours.contains("self-test") && ours.contains("make what students get"), "{ours}");
}
