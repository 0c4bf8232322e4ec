//! Matches hand-ins with students. Nothing is guessed: a hand-in without a roll number of the class is listed, and two of
//! one student are not graded until the instructor decides which one counts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::handin::{HandIn, words_of};
use crate::error::{Error, Result};

/// What the column of roll numbers may be called, in small letters and without blanks.
const ROLL: [&str; 9] = ["roll", "rollno", "rollnumber", "idnumber", "sid", "studentid", "student", "id", "username"];
const NAME: [&str; 4] = ["name", "fullname", "student name", "studentname"];

/// The list of the class.
#[derive(Debug)]
pub struct Roster {
    rows: Vec<(String, String)>,
}

/// One row of the class's table.
#[derive(Debug, Clone)]
pub struct Student {
    /// Name of the folder with the results: the roll number, else the hand-in's name, of letters that are safe there.
    pub id: String,
    /// As the roster or the course's system has it; may be empty.
    pub name: String,
    /// What was handed in.
    pub handin: Option<HandIn>,
    /// Why it is not graded, or what an instructor should look at.
    pub problem: Option<String>,
    /// Whether `problem` keeps it from being graded.
    pub is_refused: bool,
}

impl Roster {
    /// Reads the list. Its first line names the columns.
    ///
    /// # Errors
    /// `Exit::Usage` when it cannot be read, has no column of roll numbers, or one roll number twice.
    pub fn read(path: &Path) -> Result<Self> {
        let wrong = |why: String| Error::usage(format!("the roster {}: {why}", path.display()));
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .trim(csv::Trim::All)
            .from_path(path)
            .map_err(|why| wrong(why.to_string()))?;
        let plain = |name: &str| -> String {
            name.trim_start_matches('\u{feff}')
                .chars()
                .filter(|c| c.is_alphanumeric())
                .flat_map(char::to_lowercase)
                .collect()
        };
        let headers: Vec<String> = reader.headers().map_err(|why| wrong(why.to_string()))?.iter().map(plain).collect();
        let column = |known: &[&str]| known.iter().find_map(|name| headers.iter().position(|header| header == name));
        let Some(roll) = column(&ROLL) else {
            return Err(wrong(format!("no column of its first line is called {}", ROLL.join(", "))));
        };
        let name = column(&NAME);
        let (mut rows, mut known) = (Vec::new(), BTreeSet::new());
        for record in reader.records() {
            let record = record.map_err(|why| wrong(why.to_string()))?;
            let cell = |column: usize| record.get(column).unwrap_or_default().to_owned();
            let roll = cell(roll);
            if roll.is_empty() {
                continue;
            }
            if !known.insert(roll.to_lowercase()) {
                return Err(wrong(format!("{roll} stands in it twice")));
            }
            rows.push((roll, name.map(cell).unwrap_or_default()));
        }
        Ok(Self { rows })
    }
}

/// The class: the students of the roster, in its order, then the hand-ins that match no student.
pub fn students(handins: Vec<HandIn>, roster: Option<&Roster>) -> Vec<Student> {
    let mut by_roll: BTreeMap<String, Vec<HandIn>> = BTreeMap::new();
    let mut unknown = Vec::new();
    for handin in handins {
        match roll_of(&handin, roster) {
            Ok(roll) => by_roll.entry(roll).or_default().push(handin),
            Err(why) => unknown.push((handin, why)),
        }
    }
    let mut ids = Ids::default();
    let mut students = Vec::new();
    match roster {
        Some(roster) => {
            for (roll, name) in &roster.rows {
                let handins = by_roll.remove(&roll.to_lowercase()).unwrap_or_default();
                students.push(student(ids.of(roll), name.clone(), handins));
            }
        }
        None => {
            for (roll, handins) in by_roll {
                let name = handins.first().and_then(HandIn::full_name);
                students.push(student(ids.of(&roll), name.unwrap_or_default(), handins));
            }
        }
    }
    for (handin, why) in unknown {
        let name = handin.full_name().unwrap_or_else(|| handin.name.clone());
        let own = student(ids.of(&handin.name), name, vec![handin]);
        students.push(Student { problem: Some(own.problem.unwrap_or(why)), ..own });
    }
    students
}

/// The student of these hand-ins, which should be one.
fn student(id: String, name: String, mut handins: Vec<HandIn>) -> Student {
    if handins.len() > 1 {
        let names: Vec<&str> = handins.iter().map(|handin| handin.name.as_str()).collect();
        let why = format!("{} hand-ins: {}; leave the one that counts", names.len(), names.join(", "));
        return Student { id, name, handin: None, problem: Some(why), is_refused: true };
    }
    let handin = handins.pop();
    let problem = match &handin {
        None => Some("nothing was handed in".to_owned()),
        Some(handin) => handin.refused.clone(),
    };
    let is_refused = handin.as_ref().is_some_and(|handin| handin.refused.is_some());
    Student { id, name, handin, problem, is_refused }
}

/// The roll number of a hand-in, in small letters.
fn roll_of(handin: &HandIn, roster: Option<&Roster>) -> Result<String, String> {
    if let Some(who) = &handin.submitter {
        let roll = who.roll.to_lowercase();
        let is_known = roster.is_none_or(|roster| roster.rows.iter().any(|(known, _)| known.to_lowercase() == roll));
        return match (roll.is_empty(), is_known) {
            (true, _) => Err(format!("Gradescope knows no roll number of {}", who.name)),
            (false, false) => Err(format!("Gradescope's {roll} is not in the roster")),
            (false, true) => Ok(roll),
        };
    }
    let words = handin.words();
    let found: BTreeSet<String> = match roster {
        // A roll number may have signs between its words, as 24-M-0001 has: its words stand there in a row.
        Some(roster) => {
            let stands = |roll: &str| {
                let wanted = words_of(roll);
                !wanted.is_empty() && words.windows(wanted.len()).any(|some| some == wanted)
            };
            roster
                .rows
                .iter()
                .map(|(roll, _)| roll)
                .filter(|roll| stands(roll))
                .map(|roll| roll.to_lowercase())
                .collect()
        }
        None => words.into_iter().filter(|word| looks_like_a_roll(word)).collect(),
    };
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(roll), None) => Ok(roll),
        (Some(one), Some(other)) => Err(format!("two roll numbers stand in its name: {one}, {other}")),
        (None, _) if roster.is_some() => Err("no roll number of the roster stands in its name".to_owned()),
        (None, _) => Err("no roll number stands in its name".to_owned()),
    }
}

/// `24m0001`, `210050115`, `cs21b1234`: ASCII letters and digits, at least five of them digits.
fn looks_like_a_roll(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    digits >= 5 && word.len() <= 16 && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Names of folders that are given once each.
#[derive(Debug, Default)]
struct Ids(BTreeSet<String>);

impl Ids {
    fn of(&mut self, name: &str) -> String {
        let safe = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
        let name: String = name.trim_start_matches('.').chars().map(safe).take(80).collect();
        let name = if name.is_empty() { "unnamed".to_owned() } else { name };
        let numbered = (2..).map(|number: u32| format!("{name}-{number}"));
        // Some file systems do not tell A from a.
        let free = [name.clone()].into_iter().chain(numbered).find(|id| self.0.insert(id.to_lowercase()));
        free.unwrap_or(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn handin(name: &str) -> HandIn {
        let (moodle, submitter, refused) = Default::default();
        HandIn { name: name.to_owned(), path: PathBuf::from("/nowhere"), moodle, submitter, refused }
    }

    fn roster(text: &str) -> Result<Roster> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("class.csv");
        std::fs::write(&path, text).unwrap();
        Roster::read(&path)
    }

    fn seen(students: &[Student]) -> Vec<(String, Option<String>, String)> {
        let name = |student: &Student| student.handin.as_ref().map(|handin| handin.name.clone());
        let row = |it: &Student| (it.id.clone(), name(it), it.problem.clone().unwrap_or_default());
        students.iter().map(row).collect()
    }

    #[test]
    fn everybody_of_the_roster_has_a_row_and_what_fits_nobody_is_listed() {
        let roster = roster("\u{feff}Name,Roll No\n\"King, Ada\",24M0001\nBob,24-M-0002\nEve,24m0003\n").unwrap();
        let handins = ["24m0001_assignment3.tar.gz", "24-m-0002", "24m00030.zip", "a 24m0003", "b_24M0003"].map(handin);
        let students = students(handins.to_vec(), Some(&roster));
        let seen = seen(&students);
        assert_eq!(students[0].name, "King, Ada");
        assert_eq!(seen[0], ("24M0001".into(), Some("24m0001_assignment3.tar.gz".into()), String::new()));
        assert_eq!(seen[1], ("24-M-0002".into(), Some("24-m-0002".into()), String::new()));
        assert_eq!((seen[2].1.clone(), students[2].is_refused), (None, true));
        assert!(seen[2].2.starts_with("2 hand-ins: a 24m0003, b_24M0003;"), "{seen:?}");
        assert_eq!(seen[3].2, "no roll number of the roster stands in its name");
        assert_eq!(seen[3].1.as_deref(), Some("24m00030.zip"));
    }

    #[test]
    fn without_a_roster_the_roll_number_is_the_only_word_that_looks_like_one() {
        let handins = ["24m0001.zip", "kit", "24m0002_24m0003", "../../etc", "kit"].map(handin);
        let seen = seen(&students(handins.to_vec(), None));
        let ids: Vec<&str> = seen.iter().map(|(id, ..)| id.as_str()).collect();
        assert_eq!(ids, ["24m0001", "kit", "24m0002_24m0003", "_.._etc", "kit-2"]);
        assert_eq!(seen[1].2, "no roll number stands in its name");
        assert!(seen[2].2.contains("24m0002, 24m0003"));
    }

    #[test]
    fn a_roster_that_cannot_be_used_is_refused_with_the_reason() {
        let why = |text: &str| roster(text).unwrap_err().to_string();
        assert!(why("who,what\na,b\n").contains("no column of its first line is called roll, "), "{}", why("who\na\n"));
        assert!(why("roll\n1a\n1A\n").ends_with("1A stands in it twice"));
        assert!(Roster::read(Path::new("/no/such.csv")).unwrap_err().to_string().contains("/no/such.csv"));
    }
}
