//! Parses a Conductorfile: the base of an image and the instructions to build it.
//!
//! ```text
//! # The counter service
//! FROM debian:bookworm
//! ENV PORT=8080
//! RUN apt-get update && \
//!     apt-get install -y python3
//! COPY counter-service /counter-service
//! WORKDIR /counter-service
//! CMD ["bash", "run.sh"]
//! ```
//!
//! The grammar is a subset of Dockerfile's: `#` begins a comment line, a backslash at the end continues a line, words
//! may be quoted, `$NAME` and `${NAME}` are replaced by variables of ENV. The file is parsed completely before anything
//! is executed, and an error is shown with a caret below its position.

use std::collections::BTreeMap;

use nsutil::error::Error;

use super::base::{Base, FORMS};

/// File name when none is given.
pub const DEFAULT_NAME: &str = "Conductorfile";

/// A parsed Conductorfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conductorfile {
    /// What follows FROM.
    pub from: Base,
    /// The other instructions, in order.
    pub statements: Vec<Statement>,
    /// The text, to show a line when a step fails.
    pub source: SourceText,
}

/// An instruction and its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Its first letter.
    pub at: Position,
    /// As written, in one line.
    pub text: String,
    /// What it says.
    pub instruction: Instruction,
}

/// An instruction after FROM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// Copy a file or folder of the Conductorfile's folder into the image.
    Copy {
        /// Where from.
        source: Word,
        /// Where to.
        destination: Word,
    },
    /// Run a command in the image and keep what it changes.
    Run(CommandLine),
    /// Set variables of the environment.
    Env(Vec<(String, Word)>),
    /// Working directory of the following commands.
    Workdir(Word),
    /// Default command of a container.
    Cmd(CommandLine),
}

/// A command, in one of the two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// A line for the image's `/bin/sh -c`.
    Shell(String),
    /// A program and its arguments, written as a JSON list.
    Exec(Vec<String>),
}

/// A word without quotes, with variables not expanded yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Its first letter.
    pub at: Position,
    parts: Vec<WordPart>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum WordPart {
    Text(String),
    Variable(String),
}

/// A position in the file; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

/// The text a Conductorfile was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceText {
    name: String,
    lines: Vec<String>,
}

/// A syntax error: position, problem, and hint.
#[derive(Debug, PartialEq, Eq)]
struct SyntaxError {
    at: Position,
    what: String,
    right: String,
}

/// An instruction after joining continued lines; each character keeps its position.
struct Line {
    letters: Vec<(char, Position)>,
    end: Position,
}

const INSTRUCTIONS: [&str; 6] = ["FROM", "COPY", "RUN", "ENV", "WORKDIR", "CMD"];
/// Unsupported instructions of Docker, and the alternatives.
const UNSUPPORTED: [(&str, &str); 12] = [
    ("ADD", "COPY copies; to fetch or unpack, RUN a command"),
    ("ARG", "ENV sets variables"),
    ("ENTRYPOINT", "CMD says what a container runs"),
    ("EXPOSE", "`conductor addnetwork NAME -e HOST:CONTAINER` opens a port"),
    ("HEALTHCHECK", "`conductor ps` shows whether a container runs"),
    ("LABEL", "write a comment"),
    ("MAINTAINER", "write a comment"),
    ("ONBUILD", "write the instructions into the other Conductorfile"),
    ("SHELL", "RUN [\"bash\", \"-c\", \"…\"] uses another shell"),
    ("STOPSIGNAL", "`conductor stop` sends SIGTERM"),
    ("USER", "CMD [\"su\", \"NAME\", \"-c\", \"…\"] runs as another user"),
    ("VOLUME", "`.containers/NAME/rootfs` is there on the host while the container exists"),
];
/// Number of characters shown of a long line.
const SHOWN: usize = 100;

impl Conductorfile {
    /// Reads a Conductorfile; `name` is what errors call it.
    ///
    /// # Errors
    /// The first mistake, with its line, a caret below it, and what would be right.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, Error> {
        let source = SourceText::new(name, bytes);
        match parse(&source, bytes) {
            Ok((from, statements)) => Ok(Self { from, statements, source }),
            Err(syntax_error) => {
                Err(source.error_at("understand", syntax_error.at, &syntax_error.what, &syntax_error.right))
            }
        }
    }

    /// A file of one line: `FROM` and a base.
    pub fn only(from: Base) -> Self {
        let source = SourceText::new(DEFAULT_NAME, format!("FROM {from}\n").as_bytes());
        Self { from, statements: Vec::new(), source }
    }
}

impl SourceText {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        Self { name: name.to_owned(), lines: text.lines().map(str::to_owned).collect() }
    }

    /// An error that shows the line with a caret below a position.
    pub fn error_at(&self, attempt: &str, at: Position, what: &str, right: &str) -> Error {
        let Position { line, column } = at;
        let letters: Vec<char> = self.lines.get(line - 1).map(|text| text.chars().collect()).unwrap_or_default();
        let from = if letters.len() > SHOWN { column.saturating_sub(SHOWN / 2) } else { 0 };
        // A tab would shift the caret; other control characters could do more.
        let shown: String =
            letters.iter().skip(from).take(SHOWN).map(|c| if c.is_control() { ' ' } else { *c }).collect();
        let (cut, more) = (if from > 0 { "…" } else { "" }, if letters.len() > from + SHOWN { "…" } else { "" });
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let before = " ".repeat(cut.chars().count() + column - 1 - from.min(column - 1));
        let picture = format!("{what}\n  {number} | {cut}{shown}{more}\n  {margin} | {before}^ {right}");
        Error::new(attempt, format_args!("{}:{line}:{column}", self.name), picture.trim_end())
    }
}

impl Word {
    /// Expands variables; an unset one is empty.
    pub fn expand(&self, environment: &BTreeMap<String, String>) -> String {
        let value = |part: &WordPart| match part {
            WordPart::Text(text) => text.clone(),
            WordPart::Variable(name) => environment.get(name).cloned().unwrap_or_default(),
        };
        self.parts.iter().map(value).collect()
    }
}

impl CommandLine {
    /// Program and arguments.
    pub fn arguments(&self) -> Vec<String> {
        match self {
            Self::Shell(line) => ["/bin/sh", "-c", line].map(str::to_owned).to_vec(),
            Self::Exec(arguments) => arguments.clone(),
        }
    }
}

fn parse(source: &SourceText, bytes: &[u8]) -> Result<(Base, Vec<Statement>), SyntaxError> {
    if let Err(error) = std::str::from_utf8(bytes) {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        return Err(syntax_error(
            Position { line, column: 1 },
            "this line is not UTF-8 text",
            "save the file as UTF-8",
        ));
    }
    let (mut from, mut statements) = (None, Vec::new());
    for line in lines(source)? {
        let (word, rest) = line.split_word();
        let name = word.text().to_ascii_uppercase();
        match (name.as_str(), &from) {
            ("FROM", None) => from = Some((base(&rest)?, line.start())),
            ("FROM", Some((_, first))) => {
                let what = format!("a second FROM: an image has one base, and line {} names it", first.line);
                return Err(syntax_error(line.start(), &what, "one Conductorfile makes one image"));
            }
            (_, None) if INSTRUCTIONS.contains(&name.as_str()) => {
                let what = "the first instruction has to be FROM";
                return Err(syntax_error(line.start(), what, "for example, above it: FROM debian:bookworm"));
            }
            _ => {
                refuse_here_document(&name, &rest, source)?;
                let instruction = instruction(&name, &word, &rest)?;
                statements.push(Statement { at: line.start(), text: line.text(), instruction });
            }
        }
    }
    match from {
        Some((base, _)) => Ok((base, statements)),
        None => {
            Err(syntax_error(Position { line: 1, column: 1 }, "there is no FROM", "for example: FROM debian:bookworm"))
        }
    }
}

/// Detects here-documents, a word after `<<` that is alone on a later line. They are not supported, and their lines
/// would be parsed as instructions.
fn refuse_here_document(name: &str, rest: &Line, source: &SourceText) -> Result<(), SyntaxError> {
    let text = rest.text();
    let ends = text.match_indices("<<").filter_map(|(at, mark)| {
        let word = text.get(at + mark.len()..)?.trim_start_matches('-').trim_start();
        let word = word.trim_start_matches(['"', '\'']).split(|letter: char| !is_of_name(letter)).next()?;
        (!word.is_empty()).then_some((at, word))
    });
    let below = || source.lines.iter().skip(rest.end.line);
    let Some((at, word)) = ends.into_iter().find(|(_, word)| below().any(|line| line.trim() == *word)) else {
        return Ok(());
    };
    let letter = text.get(..at).map_or(0, |before| before.chars().count());
    let place = rest.letters.get(letter).map_or(rest.start(), |(_, place)| *place);
    let right = match name {
        "COPY" => "put the text into a file of the Conductorfile's folder, and COPY that",
        _ => "join the commands with && and a backslash, or COPY a script and RUN it",
    };
    Err(syntax_error(place, &format!("here-documents (<<{word}) are not known here"), right))
}

fn is_of_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

fn base(rest: &Line) -> Result<Base, SyntaxError> {
    let right = format!("FROM takes {FORMS}");
    let (word, more) = rest.split_word();
    if word.is_empty() {
        return Err(syntax_error(rest.start(), "FROM names no base", &right));
    }
    if !more.is_empty() {
        return Err(syntax_error(more.start(), "FROM takes one word", &right));
    }
    word.text().parse().map_err(|error: String| syntax_error(word.start(), &error, &right))
}

fn instruction(name: &str, word: &Line, rest: &Line) -> Result<Instruction, SyntaxError> {
    match name {
        "COPY" => copy(rest),
        "RUN" => run(rest),
        "CMD" => command(rest, "CMD", "for example: CMD [\"bash\", \"run.sh\"]").map(Instruction::Cmd),
        "ENV" => env(rest),
        "WORKDIR" => match words(rest)?.as_slice() {
            [folder] => Ok(Instruction::Workdir(folder.clone())),
            [] => Err(syntax_error(rest.start(), "WORKDIR names no folder", "for example: WORKDIR /app")),
            [_, second, ..] => {
                Err(syntax_error(second.at, "WORKDIR takes one folder", "put a name with blanks in quotes"))
            }
        },
        _ => Err(unknown(name, word)),
    }
}

fn copy(rest: &Line) -> Result<Instruction, SyntaxError> {
    let right = "for example: COPY counter-service /counter-service";
    let words = match json(rest)? {
        // Variables are not expanded here.
        Some(list) => {
            list.into_iter().map(|text| Word { at: rest.start(), parts: vec![WordPart::Text(text)] }).collect()
        }
        None => words(rest)?,
    };
    let option = |word: &&Word| matches!(word.parts.first(), Some(WordPart::Text(text)) if text.starts_with("--"));
    if let Some(option) = words.iter().find(option) {
        let what = "COPY takes no options: what is copied belongs to root and keeps its mode";
        return Err(syntax_error(option.at, what, right));
    }
    match <[Word; 2]>::try_from(words) {
        Ok([source, destination]) => Ok(Instruction::Copy { source, destination }),
        Err(words) if words.len() < 2 => Err(syntax_error(rest.end, "COPY takes a source and a destination", right)),
        Err(words) => Err(syntax_error(
            words[2].at,
            "COPY takes one source and one destination",
            "put a name with blanks in quotes",
        )),
    }
}

fn run(rest: &Line) -> Result<Instruction, SyntaxError> {
    let right = "for example: RUN apt-get update";
    let (first, _) = rest.split_word();
    if first.text().starts_with("--") {
        // The shell's error would be misleading.
        let what = format!("RUN takes no options such as {}", first.text());
        return Err(syntax_error(first.start(), &what, right));
    }
    command(rest, "RUN", right).map(Instruction::Run)
}

fn command(rest: &Line, name: &str, right: &str) -> Result<CommandLine, SyntaxError> {
    match json(rest)? {
        Some(list) if list.is_empty() => Err(syntax_error(rest.start(), "this list names no program", right)),
        Some(list) => Ok(CommandLine::Exec(list)),
        None if rest.is_empty() => Err(syntax_error(rest.end, &format!("{name} without a command"), right)),
        None => Ok(CommandLine::Shell(rest.text())),
    }
}

/// `NAME=VALUE …`, or the older `NAME VALUE`, where all the rest is the value.
fn env(rest: &Line) -> Result<Instruction, SyntaxError> {
    let right = "for example: ENV PORT=8080";
    let (first, more) = rest.split_word();
    if first.is_empty() {
        return Err(syntax_error(rest.end, "ENV sets nothing", right));
    }
    if !first.text().contains('=') {
        let value = match words(&more)?.as_slice() {
            [] => return Err(syntax_error(first.end, "this variable gets no value", right)),
            _ => whole(&more)?,
        };
        return Ok(Instruction::Env(vec![(variable(&first.text(), first.start())?, value)]));
    }
    let pair = |mut word: Word| {
        let Some(WordPart::Text(text)) = word.parts.first_mut() else {
            return Err(syntax_error(word.at, "a variable's name stands here, as it is", right));
        };
        let Some((name, value)) = text.split_once('=') else {
            return Err(syntax_error(word.at, "a NAME=VALUE is wanted here", "put a value with blanks in quotes"));
        };
        let (name, value) = (variable(name, word.at)?, value.to_owned());
        *text = value;
        Ok((name, word))
    };
    words(rest)?.into_iter().map(pair).collect::<Result<_, _>>().map(Instruction::Env)
}

fn variable(name: &str, at: Position) -> Result<String, SyntaxError> {
    let begins_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if begins_well && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Ok(name.to_owned());
    }
    Err(syntax_error(at, &format!("{name:?} is not a variable name"), "letters, digits and _, beginning with no digit"))
}

fn unknown(name: &str, word: &Line) -> SyntaxError {
    let what = format!("{name:?} is not an instruction");
    if let Some((_, instead)) = UNSUPPORTED.iter().find(|(other, _)| *other == name) {
        return syntax_error(word.start(), &format!("{name} is none of conductor's instructions"), instead);
    }
    let closest = INSTRUCTIONS.iter().min_by_key(|known| strsim::damerau_levenshtein(known, name));
    match closest.filter(|known| strsim::damerau_levenshtein(known, name) <= 2) {
        Some(known) => syntax_error(word.start(), &what, &format!("did you mean {known}?")),
        None => syntax_error(word.start(), &what, &format!("there are {}", INSTRUCTIONS.join(", "))),
    }
}

/// Joins continued lines; skips comments and empty lines.
fn lines(source: &SourceText) -> Result<Vec<Line>, SyntaxError> {
    let mut lines = Vec::new();
    let mut letters: Vec<(char, Position)> = Vec::new();
    let mut open_at = None;
    for (index, text) in source.lines.iter().enumerate() {
        let line = index + 1;
        if text.trim().is_empty() || text.trim_start().starts_with('#') {
            continue;
        }
        if let Some(column) = text.chars().position(|letter| letter == '\0') {
            let at = Position { line, column: column + 1 };
            return Err(syntax_error(at, "a NUL byte", "this is not a text file"));
        }
        let whole = text.trim_end();
        let (whole, continued) = whole.strip_suffix('\\').map_or((whole, false), |whole| (whole, true));
        letters
            .extend(whole.chars().enumerate().map(|(column, letter)| (letter, Position { line, column: column + 1 })));
        let end = Position { line, column: whole.chars().count() + 1 };
        open_at = continued.then_some(end);
        if !continued {
            lines.push(Line { letters: std::mem::take(&mut letters), end }.trim());
        }
    }
    match open_at {
        None => Ok(lines),
        Some(at) => Err(syntax_error(at, "the file ends after this backslash", "it says that the line goes on")),
    }
}

impl Line {
    fn start(&self) -> Position {
        self.letters.first().map_or(self.end, |(_, place)| *place)
    }

    fn text(&self) -> String {
        self.letters.iter().map(|(letter, _)| letter).collect()
    }

    fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    /// Without surrounding blanks.
    fn trim(&self) -> Self {
        let blank = |(letter, _): &&(char, Position)| letter.is_whitespace();
        let before = self.letters.iter().take_while(blank).count();
        let after = self.letters[before..].iter().rev().take_while(blank).count();
        let letters = self.letters[before..self.letters.len() - after].to_vec();
        let end = letters.last().map_or(self.end, |(_, at)| Position { column: at.column + 1, ..*at });
        Self { letters, end }
    }

    /// The part before the first blank, and the rest.
    fn split_word(&self) -> (Self, Self) {
        let length = self.letters.iter().take_while(|(letter, _)| !letter.is_whitespace()).count();
        let part = |letters: &[(char, Position)]| Self { letters: letters.to_vec(), end: self.end }.trim();
        (part(&self.letters[..length]), part(&self.letters[length..]))
    }
}

/// Parses a JSON list of strings; none if it is something else. `[ -e /x ]` is a shell command, `["a"` an invalid list.
fn json(rest: &Line) -> Result<Option<Vec<String>>, SyntaxError> {
    let text = rest.text();
    let inner = text.strip_prefix('[').map(str::trim_start);
    match serde_json::from_str(&text) {
        Ok(list) => Ok(Some(list)),
        Err(error) if inner.is_some_and(|inner| inner.starts_with(['"', '\''])) => {
            let column = text.char_indices().filter(|(byte, _)| *byte + 1 < error.column()).count();
            let at = rest.letters.get(column).map_or(rest.end, |(_, place)| *place);
            let why = error.to_string();
            let why = why.split(" at line").next().unwrap_or_default();
            let right = "a list is written [\"program\", \"argument\"], with double quotes";
            Err(syntax_error(at, &format!("this list is not JSON: {why}"), right))
        }
        Err(_) => Ok(None),
    }
}

/// The words of a line, as a shell splits them: blanks between, quotes around, backslash before a single letter.
fn words(line: &Line) -> Result<Vec<Word>, SyntaxError> {
    let (mut words, mut rest) = (Vec::new(), line.letters.as_slice());
    loop {
        let blanks = rest.iter().take_while(|(letter, _)| letter.is_whitespace()).count();
        rest = &rest[blanks..];
        if rest.is_empty() {
            return Ok(words);
        }
        let (word, after) = word(rest, Blanks::EndWord)?;
        words.push(word);
        rest = after;
    }
}

/// All of a line as one word.
fn whole(line: &Line) -> Result<Word, SyntaxError> {
    word(&line.letters, Blanks::KeepInWord).map(|(word, _)| word)
}

/// Whether a blank outside of quotes ends the word or belongs to it.
#[derive(Clone, Copy, PartialEq)]
enum Blanks {
    EndWord,
    KeepInWord,
}

type Letters<'a> = &'a [(char, Position)];

fn word(letters: Letters<'_>, blanks: Blanks) -> Result<(Word, Letters<'_>), SyntaxError> {
    let at = letters.first().map_or(Position { line: 1, column: 1 }, |(_, at)| *at);
    let mut word = Word { at, parts: vec![WordPart::Text(String::new())] };
    let mut quote: Option<(char, Position)> = None;
    let mut rest = letters;
    while let Some(((letter, at), after)) = rest.split_first() {
        rest = after;
        match (*letter, quote) {
            (letter, None) if letter.is_whitespace() && blanks == Blanks::EndWord => return Ok((word, rest)),
            ('"' | '\'', None) => quote = Some((*letter, *at)),
            (letter, Some((open, _))) if letter == open => quote = None,
            ('\\', None | Some(('"', _))) => match rest.split_first() {
                Some(((escaped, _), after)) => {
                    rest = after;
                    word.push(*escaped);
                }
                None => word.push('\\'),
            },
            ('$', None | Some(('"', _))) => {
                let (name, after) = variable_name(*at, rest)?;
                rest = after;
                word.parts.extend([WordPart::Variable(name), WordPart::Text(String::new())]);
            }
            (letter, _) => word.push(letter),
        }
    }
    match quote {
        None => Ok((word, rest)),
        Some((quote, at)) => {
            Err(syntax_error(at, "this quote is never closed", &format!("a second {quote} ends the word")))
        }
    }
}

/// `NAME` or `{NAME}` after a dollar sign.
fn variable_name(dollar: Position, letters: Letters<'_>) -> Result<(String, Letters<'_>), SyntaxError> {
    let wrong =
        || syntax_error(dollar, "a variable is written $NAME or ${NAME}", "a dollar sign itself is written \\$");
    let braced = letters.first().is_some_and(|(letter, _)| *letter == '{');
    let letters = if braced { &letters[1..] } else { letters };
    let is_part = |(letter, _): &&(char, Position)| letter.is_ascii_alphanumeric() || *letter == '_';
    let length = letters.iter().take_while(is_part).count();
    let name: String = letters[..length].iter().map(|(letter, _)| letter).collect();
    let name = variable(&name, dollar).map_err(|_| wrong())?;
    match (braced, letters.get(length)) {
        (false, _) => Ok((name, &letters[length..])),
        (true, Some(('}', _))) => Ok((name, &letters[length + 1..])),
        (true, _) => Err(wrong()),
    }
}

impl Word {
    fn push(&mut self, letter: char) {
        if let Some(WordPart::Text(text)) = self.parts.last_mut() {
            text.push(letter);
        }
    }
}

fn syntax_error(at: Position, what: &str, right: &str) -> SyntaxError {
    SyntaxError { at, what: what.to_owned(), right: right.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Conductorfile {
        Conductorfile::parse(DEFAULT_NAME, text.as_bytes()).unwrap_or_else(|error| panic!("{}", show(&error)))
    }

    fn show(error: &Error) -> String {
        nsutil::error::line(error)
    }

    fn refusal(text: &str) -> String {
        show(&Conductorfile::parse(DEFAULT_NAME, text.as_bytes()).unwrap_err())
    }

    fn instructions(text: &str) -> Vec<Instruction> {
        parse(&format!("FROM host\n{text}")).statements.into_iter().map(|statement| statement.instruction).collect()
    }

    /// A COPY's two words after expansion.
    fn copied(text: &str) -> (String, String) {
        let set = BTreeMap::from([("A".to_owned(), "1 2".to_owned())]);
        match instructions(text).remove(0) {
            Instruction::Copy { source, destination } => (source.expand(&set), destination.expand(&set)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_instruction_is_read() {
        let file = parse(
            "FROM debian:bookworm\nCOPY a /b\nRUN echo hi\nENV A=1 B=\"2 3\"\nWORKDIR /b\nCMD [\"bash\", \"-c\", \"x y\"]\n",
        );
        assert_eq!(file.from, "debian:bookworm".parse().unwrap());
        let lines: Vec<(usize, &str)> =
            file.statements.iter().map(|statement| (statement.at.line, statement.text.as_str())).collect();
        assert_eq!(lines[..2], [(2, "COPY a /b"), (3, "RUN echo hi")]);
        assert_eq!(file.statements[1].instruction, Instruction::Run(CommandLine::Shell("echo hi".to_owned())));
        let Instruction::Env(pairs) = &file.statements[2].instruction else { panic!() };
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.expand(&BTreeMap::new()))).collect();
        assert_eq!(pairs, [("A", "1".to_owned()), ("B", "2 3".to_owned())]);
        let command = CommandLine::Exec(vec!["bash".to_owned(), "-c".to_owned(), "x y".to_owned()]);
        assert_eq!(file.statements[4].instruction, Instruction::Cmd(command));
    }

    #[test]
    fn line_ends_marks_case_and_comments_do_not_matter() {
        let plain = parse("FROM host\nRUN a && b\n").statements.remove(0).instruction;
        for text in [
            "FROM host\r\nRUN a && b\r\n",
            "\u{feff}FROM host\nRUN a && b",
            "# first\n\n  from   host  \n\trun   a && b  \n# last",
            "FROM host\nRUN a \\\n# between\n\n&& b",
            "FROM host\nRUN a \\\r\n&& b\r\n",
            "FROM host\nRUN a && b # not a comment",
        ] {
            let expected = match text.contains("not a comment") {
                true => Instruction::Run(CommandLine::Shell("a && b # not a comment".to_owned())),
                false => plain.clone(),
            };
            assert_eq!(parse(text).statements.remove(0).instruction, expected, "{text:?}");
        }
    }

    #[test]
    fn words_are_split_as_a_shell_does() {
        for (text, source, destination) in [
            ("COPY a /b", "a", "/b"),
            ("COPY 'a b' \"/c d\"", "a b", "/c d"),
            ("COPY a\\ b /c", "a b", "/c"),
            ("COPY [\"a b\", \"/c $A\"]", "a b", "/c $A"),
            ("COPY $A /x${A}y", "1 2", "/x1 2y"),
            ("COPY '$A' \"/$A\"", "$A", "/1 2"),
            ("COPY \\$A /é😀", "$A", "/é😀"),
            ("COPY x$NONE /y", "x", "/y"),
        ] {
            assert_eq!(copied(text), (source.to_owned(), destination.to_owned()), "{text}");
        }
    }

    #[test]
    fn shifts_and_here_strings_are_not_here_documents() {
        for text in ["echo $((1<<A))", "bash -c 'cat <<< A'", "cat a<<A"] {
            let run = Instruction::Run(CommandLine::Shell(text.to_owned()));
            assert_eq!(instructions(&format!("RUN {text}\nRUN A B")).remove(0), run);
        }
    }

    #[test]
    fn a_shells_test_is_not_taken_for_a_list() {
        let run = Instruction::Run(CommandLine::Shell("[ -e /x ] || touch /x".to_owned()));
        assert_eq!(instructions("RUN [ -e /x ] || touch /x"), [run]);
    }

    #[test]
    fn the_older_form_of_env_takes_the_rest_of_the_line() {
        let Instruction::Env(pairs) = instructions("ENV GREETING hello to  all").remove(0) else { panic!() };
        assert_eq!(pairs[0].1.expand(&BTreeMap::new()), "hello to  all");
    }

    #[test]
    fn a_mistake_is_shown_with_its_line_a_caret_and_what_would_be_right() {
        assert_eq!(
            refusal("FROM host\n\nCOPY app\n"),
            "cannot understand Conductorfile:3:9: COPY takes a source and a destination\n  \
               3 | COPY app\n    \
                 |         ^ for example: COPY counter-service /counter-service"
        );
        assert_eq!(
            refusal("FROM host\nRUN true \\\n  && true\n\tCOPPY a /b"),
            "cannot understand Conductorfile:4:2: \"COPPY\" is not an instruction\n  \
               4 |  COPPY a /b\n    \
                 |  ^ did you mean COPY?"
        );
    }

    #[test]
    fn each_kind_of_mistake_points_at_its_place_and_says_what_is_wrong() {
        for (text, place, what) in [
            ("", "1:1", "there is no FROM"),
            ("# only a comment", "1:1", "there is no FROM"),
            ("RUN true\nFROM host", "1:1", "the first instruction has to be FROM"),
            ("FROM host\nFROM host", "2:1", "line 1 names it"),
            ("FROM", "1:5", "FROM names no base"),
            ("FROM alpine:3", "1:6", "is none of debian:SUITE"),
            ("FROM debian:../x", "1:6", "is not a suite"),
            ("FROM host AS x", "1:11", "FROM takes one word"),
            ("FROM host\nCOPY a b c", "2:10", "one source and one destination"),
            ("FROM host\nCOPY --chown=1 a b", "2:6", "takes no options"),
            ("FROM host\nCOPY \"a b", "2:6", "never closed"),
            ("FROM host\nRUN", "2:4", "RUN without a command"),
            ("FROM host\nRUN --mount=type=cache,target=/x ls", "2:5", "no options such as --mount"),
            ("FROM host\nRUN <<EOF\necho hi\nEOF\n", "2:5", "here-documents (<<EOF)"),
            ("FROM host\nCOPY <<-'END' /x\nhi\n\tEND", "2:6", "here-documents (<<END)"),
            ("FROM host\nRUN true && \\\n  cat << E >/x\nRUN\nE\n", "3:7", "here-documents (<<E)"),
            ("FROM host\nCMD []", "2:5", "names no program"),
            ("FROM host\nRUN [\"a\", b]", "2:11", "is not JSON"),
            ("FROM host\nRUN ['a']", "2:6", "is not JSON"),
            ("FROM host\nENV", "2:4", "ENV sets nothing"),
            ("FROM host\nENV A", "2:6", "gets no value"),
            ("FROM host\nENV A=1 B", "2:9", "NAME=VALUE is wanted here"),
            ("FROM host\nENV 1=2", "2:5", "is not a variable name"),
            ("FROM host\nENV =x", "2:5", "is not a variable name"),
            ("FROM host\nWORKDIR", "2:8", "names no folder"),
            ("FROM host\nWORKDIR a b", "2:11", "one folder"),
            ("FROM host\nWORKDIR /${A", "2:10", "$NAME or ${NAME}"),
            ("FROM host\nWORKDIR /${A:-b}", "2:10", "$NAME or ${NAME}"),
            ("FROM host\nEXPOSE 80", "2:1", "EXPOSE is none of conductor's instructions"),
            ("FROM host\nxyzzy", "2:1", "\"XYZZY\" is not an instruction"),
            ("FROM host\nRUN a \\\n", "2:7", "ends after this backslash"),
            ("FROM host\nRUN a\0b", "2:6", "a NUL byte"),
        ] {
            let told = refusal(text);
            assert!(told.starts_with(&format!("cannot understand Conductorfile:{place}: ")), "{text:?}: {told}");
            assert!(told.contains(what), "{text:?}: {told}");
            assert_eq!(told.lines().count(), 3, "{told}");
            let (_, right) = told.rsplit_once("^ ").unwrap();
            assert!(right.len() > 5, "{told}");
        }
    }

    #[test]
    fn a_line_of_a_megabyte_is_read_and_its_mistake_is_shown_in_a_hundred_letters() {
        let long = "x".repeat(1 << 20);
        let run = Instruction::Run(CommandLine::Shell(format!("echo {long}")));
        assert_eq!(instructions(&format!("RUN echo {long}")), [run]);
        let told = refusal(&format!("FROM host\nCOPY {long} /x more {long}"));
        let lines: Vec<&str> = told.lines().collect();
        assert!(lines[1].chars().count() < 120, "{}", lines[1].len());
        let caret = lines[2].chars().position(|letter| letter == '^').unwrap();
        assert_eq!(lines[1].chars().skip(caret).take(4).collect::<String>(), "more");
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_with_their_line() {
        let told = show(&Conductorfile::parse("x", b"FROM host\nRUN \xff").unwrap_err());
        assert!(told.starts_with("cannot understand x:2:1: this line is not UTF-8 text"), "{told}");
    }

    #[test]
    fn no_bytes_make_it_panic() {
        // Every prefix and every single change of a file with a bit of everything.
        let text = "FROM host\nENV A=\"$B ${C}\" D='e'\nCOPY [\"a\", \"b\"]\nRUN [\"x\", \"\\u00e9\"] \\\n # c\n y\n";
        for end in 0..text.len() {
            let _ = Conductorfile::parse("x", &text.as_bytes()[..end]);
            for byte in [0, b' ', b'"', b'\'', b'\\', b'$', b'{', b'[', b'\n', 0xff] {
                let mut bytes = text.as_bytes().to_vec();
                bytes[end] = byte;
                let _ = Conductorfile::parse("x", &bytes);
            }
        }
    }
}
