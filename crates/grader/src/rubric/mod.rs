//! The checks of a task and their marks: `rubric.toml`, `output.txt` and `blanks.toml` of a task.
//!
//! The three files lie in the task's `expected/` folder, so that a person can read what a check claims without reading
//! the grader. They are compiled into `grade`: while a submission runs, no file on the machine holds an answer it could
//! read. `rubric.toml` lists the checks, `output.txt` is the reference transcript with a named blank (`<parent-pid>`)
//! wherever a right program may differ, and `blanks.toml` says what each blank is.
//!
//! Look: `grade list task1`.

pub mod align;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::task::Task;

/// The checks of one task.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rubric {
    /// The task they belong to.
    pub task: Task,
    /// What the task is about, in a few words.
    pub title: String,
    /// The checks, in the order they are reported.
    #[serde(rename = "check")]
    pub checks: Vec<Check>,
    /// The transcript of a right run.
    #[serde(skip)]
    pub reference: Reference,
}

/// One thing that is judged by itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Its name, such as `child2.uts`.
    pub id: String,
    /// What it is worth.
    pub marks: u32,
    /// Whether it judges what is true or how it was done.
    pub kind: CheckKind,
    /// The marked section that must be written for it, such as `1.c`; none when all of them.
    pub lesson: Option<String>,
    /// The edition of the lab that it is for; none when for all.
    pub edition: Option<Edition>,
    /// Checks without which this one cannot be tried.
    #[serde(default)]
    pub needs: Vec<String>,
    /// A sentence that is true when the check has passed.
    pub claim: String,
    /// How the marks divide where a part can be had without the rest; empty when it is all or nothing.
    #[serde(default)]
    pub points: BTreeMap<String, u32>,
    /// Hints in three degrees: a question, the rule, the manual page and the function to change.
    #[serde(default)]
    pub hints: Vec<String>,
    /// A command that shows the thing.
    pub look: Option<String>,
    /// The steps of a right program that bear on this check, in words.
    #[serde(default)]
    pub wanted: Vec<String>,
    /// The system calls that bear on it: those that `--explain` shows. Of a tool, the steps, by their first words.
    #[serde(default)]
    pub calls: Vec<String>,
    /// What is different for a submission in the course's own layout, which has no lessons.
    #[serde(default, skip_serializing)]
    course: Course,
    /// Where the submission has its marked section, as FILE:LINE, once that is known.
    #[serde(skip)]
    pub place: Option<String>,
}

/// How a check differs in the course's editions, in C and bash. A field that is left out is as in the Rust edition.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Course {
    /// What it is worth there; a check without marks is not made.
    marks: Option<u32>,
    points: Option<BTreeMap<String, u32>>,
    claim: Option<String>,
    look: Option<String>,
    /// What stands for `{place}` in the hints: where a student is to look.
    place: Option<String>,
}

/// An edition of the lab that asks for more than the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Edition {
    /// The course's newer one, in which images are built of layers.
    Layers,
}

/// What a check judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckKind {
    /// What is true in the kernel.
    Outcome,
    /// How it was brought about.
    Method,
}

/// The transcript of a right run, and what may vary in it.
#[derive(Debug, Clone, Default)]
pub struct Reference {
    /// The text, with named blanks.
    pub text: String,
    /// What the blanks are.
    pub blanks: Blanks,
}

/// `blanks.toml`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blanks {
    /// What is made equal before two texts are compared.
    #[serde(default)]
    pub normalise: Normalise,
    /// The blanks by label.
    #[serde(default, rename = "blank")]
    pub by_label: BTreeMap<String, Blank>,
}

/// Differences that never count.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalise {
    /// Terminal colour codes are left out.
    #[serde(default)]
    pub colours: bool,
    /// Blanks at the end of a line are left out.
    #[serde(default)]
    pub trailing_space: bool,
    /// Empty lines are left out.
    #[serde(default)]
    pub empty_lines: bool,
    /// A line of dashes or underscores, with or without blanks between them, is a separator whatever its length.
    #[serde(default)]
    pub separators: bool,
}

/// What one named blank may hold.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blank {
    /// The form of its text.
    pub kind: BlankKind,
    /// What the text must be equal to, see [`Fact`]; without it, the same text wherever the label stands.
    pub fact: Option<Fact>,
    /// One sentence for people.
    pub about: String,
}

/// The form of a blank's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlankKind {
    /// A process id: a number from 1.
    Pid,
    /// A host name.
    Name,
    /// A whole number.
    Number,
    /// A number, with or without a fraction, in the unit that the line names.
    Duration,
    /// Any number of whole lines, in any order: the names in a directory.
    Entries,
}

/// What a blank is compared with. All are taken from the kernel at the moment the line was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fact {
    /// The writer's own process id, as `getpid` tells it.
    WriterPid,
    /// The process id of a child of the writer, as `fork` told the writer or as `getpid` tells the child.
    ChildPid,
    /// The host name in the writer's UTS namespace.
    WriterHostname,
    /// The names in the writer's root directory.
    RootEntries,
    /// The time the writer computed before it wrote.
    BusyTime,
    /// The sum that the C library's generator gives.
    RandSum,
}

impl Rubric {
    /// Reads the rubric of `task`.
    ///
    /// # Errors
    /// `Exit::CannotRun` when the task has no checks yet, `Exit::Usage` when its files contradict themselves.
    pub fn of(task: Task) -> Result<Rubric> {
        Rubric::in_edition(task, true)
    }

    /// The rubric of `task` for the Rust edition, which has lessons, or for the course's own in C and bash.
    ///
    /// # Errors
    /// Those of [`Rubric::of`].
    pub fn in_edition(task: Task, rust: bool) -> Result<Rubric> {
        let [rubric, text, blanks] = match task {
            Task::Task1 => [
                include_str!("../../../../task1-namespaces/expected/rubric.toml"),
                include_str!("../../../../task1-namespaces/expected/output.txt"),
                include_str!("../../../../task1-namespaces/expected/blanks.toml"),
            ],
            Task::Task2 => [
                include_str!("../../../../task2-cli-container/expected/rubric.toml"),
                include_str!("../../../../task2-cli-container/expected/output.txt"),
                include_str!("../../../../task2-cli-container/expected/blanks.toml"),
            ],
            // A tool's output is judged by what it must say, not beside a transcript.
            Task::Task3 => [include_str!("../../../../task3-conductor/expected/rubric.toml"), "", ""],
            Task::Task4 => [include_str!("../../../../task4-services/expected/rubric.toml"), "", ""],
        };
        let mut parsed = Rubric::parse(rubric, text, blanks).map_err(|why| {
            Error::usage(format!("{}/expected/{why}; correct it and build grade again", task.folder()))
        })?;
        for check in &mut parsed.checks {
            if rust { check.name_lesson() } else { check.for_course() }
        }
        parsed.checks.retain(|check| check.marks > 0);
        Ok(parsed)
    }

    /// Parses the three files of a task.
    ///
    /// # Errors
    /// A sentence that says what does not fit, behind the name of the file and the line.
    pub fn parse(rubric: &str, text: &str, blanks: &str) -> Result<Rubric, String> {
        let mut parsed: Rubric = toml::from_str(rubric).map_err(|e| refused("rubric.toml", rubric, &e))?;
        let blanks: Blanks = toml::from_str(blanks).map_err(|e| refused("blanks.toml", blanks, &e))?;
        parsed.reference = Reference { text: text.to_owned(), blanks };
        parsed.consistent().map_err(|(id, why)| {
            // Of a check that stands there twice, the second is the one too many.
            let heading = format!("id = {id:?}");
            let line = rubric.lines().zip(1..).filter(|(line, _)| line.trim() == heading).map(|(_, nth): (_, u32)| nth);
            line.last().map_or_else(|| why.clone(), |line| format!("rubric.toml:{line}: {why}"))
        })?;
        Ok(parsed)
    }

    /// The marks of all checks together, those of one edition alone left out.
    pub fn max_marks(&self) -> u32 {
        self.checks.iter().filter(|check| check.edition.is_none()).map(|check| check.marks).sum()
    }

    /// The check called `id`.
    pub fn check(&self, id: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.id == id)
    }

    /// The check called `id`, for a person who typed it.
    ///
    /// # Errors
    /// `Exit::Usage` that names the nearest check, or lists them all.
    pub fn find(&self, id: &str) -> Result<&Check> {
        self.check(id).ok_or_else(|| {
            let nearest = self
                .checks
                .iter()
                .map(|check| (similar::TextDiff::from_chars(id, check.id.as_str()).ratio(), check.id.as_str()))
                .filter(|(likeness, _)| *likeness > 0.6)
                .max_by(|a, b| a.0.total_cmp(&b.0));
            let all = || self.checks.iter().map(|check| check.id.as_str()).collect::<Vec<_>>().join(", ");
            Error::usage(match nearest {
                Some((_, name)) => format!("{} has no check {id:?}; did you mean {name:?}?", self.task),
                None => format!("{} has no check {id:?}; it has {}", self.task, all()),
            })
        })
    }

    /// What the types cannot rule out: the check, and what is wrong with it.
    fn consistent(&self) -> Result<(), (String, String)> {
        for (nth, check) in self.checks.iter().enumerate() {
            let id = &check.id;
            let wrong = |why: String| Err((id.clone(), why));
            if self.checks.iter().take(nth).any(|earlier| earlier.id == *id) {
                return wrong(format!("check {id:?} stands there twice"));
            }
            if let Some(need) = check.needs.iter().find(|need| !self.checks.iter().take(nth).any(|c| c.id == **need)) {
                return wrong(format!("check {id:?} needs {need:?}, which is not before it"));
            }
            if !check.points.is_empty() && check.points.values().sum::<u32>() != check.marks {
                return wrong(format!("the points of {id:?} do not add up to its marks"));
            }
            if !matches!(check.hints.len(), 0 | 3) {
                return wrong(format!("check {id:?} has {} hints, not 3", check.hints.len()));
            }
        }
        for label in labels(&self.reference.text) {
            if !self.reference.blanks.by_label.contains_key(&label) {
                return Err((label.clone(), format!("output.txt: blank <{label}> is not in blanks.toml")));
            }
        }
        Ok(())
    }
}

/// Why a file is no TOML of the right kind, with the line.
fn refused(file: &str, text: &str, why: &toml::de::Error) -> String {
    let before = why.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(1, |before| before.matches('\n').count() + 1);
    format!("{file}:{line}: {}", why.message())
}

/// Stands in a hint for the place in the submission that the hint is about.
const PLACE: &str = "{place}";

impl Check {
    /// Completes the hints of the Rust edition.
    fn name_lesson(&mut self) {
        let place = match &self.lesson {
            Some(lesson) => format!("the section of Lesson {lesson}"),
            None => "the marked sections".to_owned(),
        };
        self.hints.iter_mut().for_each(|hint| *hint = hint.replace(PLACE, &place));
    }

    /// Makes this the check of the course's edition.
    fn for_course(&mut self) {
        let Course { marks, points, claim, look, place } = std::mem::take(&mut self.course);
        self.lesson = None;
        self.marks = marks.unwrap_or(self.marks);
        self.points = points.unwrap_or(std::mem::take(&mut self.points));
        self.claim = claim.unwrap_or(std::mem::take(&mut self.claim));
        self.look = look.or(self.look.take());
        let place = place.unwrap_or_else(|| "your part of the program".to_owned());
        self.hints.iter_mut().for_each(|hint| *hint = hint.replace(PLACE, &place));
    }
}

/// The labels of the named blanks in `text`, each once, in order.
fn labels(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for piece in text.split('<').skip(1) {
        let Some((label, _)) = piece.split_once('>') else { continue };
        if !found.iter().any(|seen| seen == label) {
            found.push(label.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_course_edition_is_worth_the_same_and_speaks_of_no_lesson_and_no_make() {
        for task in Task::ALL {
            let (ours, course) = (Rubric::of(task).unwrap(), Rubric::in_edition(task, false).unwrap());
            assert_eq!(ours.max_marks(), course.max_marks(), "{task}");
            course.consistent().unwrap();
            ours.consistent().unwrap();
            for check in &course.checks {
                assert!(check.lesson.is_none());
            }
            for check in ours.checks.iter().chain(&course.checks) {
                assert!(!check.hints.iter().any(|hint| hint.contains(PLACE)), "{}", check.id);
            }
        }
        for task in [Task::Task1, Task::Task2] {
            for check in Rubric::in_edition(task, false).unwrap().checks {
                let said = [check.hints.clone(), check.look.into_iter().collect(), vec![check.claim]].concat();
                for text in said {
                    assert!(!text.contains("Lesson") && !text.contains("make diff"), "{}: {text}", check.id);
                }
            }
        }
    }

    #[test]
    fn the_rubrics_of_all_tasks_agree_with_themselves_and_give_three_hints_for_each_check() {
        for (task, marks) in [(Task::Task1, 20), (Task::Task2, 30), (Task::Task3, 50), (Task::Task4, 30)] {
            let rubric = Rubric::of(task).unwrap();
            assert_eq!(rubric.task, task);
            assert_eq!(rubric.max_marks(), marks, "{task}");
            assert!(rubric.checks.iter().all(|check| check.hints.len() == 3 && check.look.is_some()));
        }
    }

    #[test]
    fn state_carries_at_least_four_fifths_of_the_marks() {
        for task in Task::ALL {
            let rubric = Rubric::of(task).unwrap();
            let methods = rubric.checks.iter().filter(|check| check.kind == CheckKind::Method || check.id == "output");
            let text: u32 = methods.map(|check| check.marks).sum();
            assert!(text * 5 <= rubric.max_marks(), "{task}: {text} of {}", rubric.max_marks());
        }
    }

    fn folder_of(task: Task) -> std::path::PathBuf {
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(task.folder())
    }

    /// Every `# Lesson 1.a (6 marks)` in the sources of `task`, with the checks that its comment names.
    fn tagged(task: Task) -> BTreeMap<String, (u32, Vec<String>)> {
        let (mut folders, mut found) = (vec![folder_of(task).join("src")], BTreeMap::new());
        while let Some(folder) = folders.pop() {
            for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(path).unwrap_or_default();
                for section in text.split("/// # Lesson ").skip(1) {
                    let (lesson, rest) = section.split_once(" (").unwrap();
                    let (marks, rest) = rest.split_once(" marks)").unwrap();
                    let named =
                        rest.lines().map(str::trim).take_while(|line| !line.starts_with("fn ")).find_map(checks_in);
                    found.insert(lesson.to_owned(), (marks.parse().unwrap(), named.unwrap_or_default()));
                }
            }
        }
        found
    }

    fn checks_in(line: &str) -> Option<Vec<String>> {
        Some(line.strip_prefix("/// Checks: ")?.split_whitespace().map(str::to_owned).collect())
    }

    /// The lessons of `task`, with their marks and checks.
    fn lessons(task: Task) -> BTreeMap<String, (u32, Vec<String>)> {
        let mut lessons: BTreeMap<String, (u32, Vec<String>)> = BTreeMap::new();
        for check in Rubric::of(task).unwrap().checks {
            if let Some(lesson) = check.lesson {
                let (marks, checks) = lessons.entry(lesson).or_default();
                *marks += check.marks;
                checks.push(check.id);
            }
        }
        lessons
    }

    #[test]
    fn a_lesson_names_its_marks_and_its_checks_above_its_function_and_in_the_sheet() {
        for task in Task::ALL {
            assert_eq!(lessons(task), tagged(task), "{task}");
            let sheet = std::fs::read_to_string(folder_of(task).join("README.md")).unwrap();
            for (lesson, (marks, checks)) in lessons(task) {
                let row = sheet.lines().find(|line| line.starts_with(&format!("| {lesson} |"))).unwrap_or_default();
                let checks: Vec<String> = checks.iter().map(|check| format!("`{check}`")).collect();
                let wanted = format!("| {marks} | {} |", checks.join(" "));
                assert!(row.contains(&wanted), "{task}: lesson {lesson}: {wanted} in {row:?}");
            }
        }
    }

    #[test]
    fn an_unknown_check_names_the_nearest_or_lists_all() {
        let rubric = Rubric::of(Task::Task1).unwrap();
        assert!(rubric.find("child2.utz").unwrap_err().to_string().contains("did you mean \"child2.uts\"?"));
        assert!(rubric.find("xyz").unwrap_err().to_string().contains("it has child1.uts, child1.pid"));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let rubric = |check: &str| format!("task = \"task1\"\ntitle = \"t\"\n{check}");
        let check =
            |extra: &str| format!("[[check]]\nid = \"a\"\nmarks = 2\nkind = \"outcome\"\nclaim = \"c\"\n{extra}\n");
        let refused = |text: String| Rubric::parse(&rubric(&text), "", "").unwrap_err();
        assert!(refused(check("points = { x = 1 }")).contains("do not add up"));
        assert!(refused(check("needs = [\"b\"]")).contains("not before it"));
        assert!(refused(check("hints = [\"one\"]")).contains("1 hints"));
        assert!(refused(check("") + &check("")).contains("twice"));
        assert!(refused(check("") + &check("")).starts_with("rubric.toml:10: "), "{}", refused(check("") + &check("")));
        assert!(refused(check("mark = 3")).starts_with("rubric.toml:8: "), "{}", refused(check("mark = 3")));
        assert!(Rubric::parse(&rubric(&check("")), "PID: <who>", "").unwrap_err().contains("<who>"));
    }
}
