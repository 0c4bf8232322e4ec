//! `grade watch task1`: grades again whenever a file of the task is saved, and shows the one thing to do next.
//!
//! The grading itself is `grade task1`, a process of its own: a save during it ends it, and the next begins. Keys are read one by one,
//! without waiting for Enter (termios(3), `ICANON`); the terminal is as before when this program ends, whatever ends it.
//!
//! Look: `sudo grade watch task1`, then save a file in another window.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::Pid;
use notify::{EventKind, RecursiveMode, Watcher};
use tempfile::TempDir;

use super::lesson;
use super::screen::{Screen, first_to_do};
use crate::class::stored::StoredReport;
use crate::error::{Error, IntoExit, OrCannot, Result};
use crate::handout::edition::Edition;
use crate::handout::workspace::Workspace;
use crate::signals::Signals;
use crate::task::Task;

/// Editors write a file in several steps: what comes within this time is one save.
const SETTLE: Duration = Duration::from_millis(100);
/// How often it looks whether the grading has ended.
const LOOK: Duration = Duration::from_millis(50);
/// Ctrl-C as a key, since the terminal hands over each one.
const CTRL_C: u8 = 3;

/// Grade a task again on each save, and show what to do next
#[derive(Debug, Clone, clap::Args)]
pub struct Watch {
    /// task1, task2, task3 or task4
    task: Task,
}

/// What happened.
enum Event {
    Saved,
    Key(u8),
    /// The terminal has gone.
    End,
}

/// What it is about, and what it knows.
struct Session {
    task: Task,
    /// The workspace.
    root: PathBuf,
    edition: Edition,
    /// Where the reports are written.
    dir: TempDir,
    report: Option<StoredReport>,
    grading: Option<Child>,
    begun: Instant,
    took: Option<Duration>,
    hints: usize,
}

impl Watch {
    /// Runs until `q`.
    ///
    /// # Errors
    /// `Exit::Usage` without a terminal or outside of a workspace.
    pub fn run(&self) -> Result<u8> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            let instead = format!("`grade {}` grades once", self.task.id());
            return Err(Error::usage(format!("watch needs a terminal to show its screen on; {instead}")));
        }
        let root = Workspace::in_any_edition()?.root;
        let signals = Signals::block()?;
        let _terminal = KeyByKey::of_stdin()?;
        let (sender, events) = channel();
        let edition = Edition::of(&root)?;
        let folder = lesson::folder(&root, edition, self.task);
        let _watcher = watcher(&folder, sender.clone())?;
        std::thread::spawn(move || read_keys(&sender));
        let dir = tempfile::tempdir().or_cannot("make", "a temporary folder")?;
        let begun = Instant::now();
        let (task, hints) = (self.task, 1);
        let mut session = Session { task, root, edition, dir, report: None, grading: None, begun, took: None, hints };
        session.begin()?;
        while signals.fd.read_signal().ok().flatten().is_none() && session.take(&events)? {}
        session.end();
        Ok(0)
    }
}

impl Session {
    /// Waits for something to happen, and does what it asks for; false is the end.
    fn take(&mut self, events: &Receiver<Event>) -> Result<bool> {
        match events.recv_timeout(LOOK) {
            Ok(Event::Saved) => {
                while matches!(events.recv_timeout(SETTLE), Ok(Event::Saved)) {}
                self.begin()?;
            }
            Ok(Event::Key(b'q' | CTRL_C)) | Ok(Event::End) | Err(RecvTimeoutError::Disconnected) => return Ok(false),
            Ok(Event::Key(b'h')) => {
                self.hints = (self.hints + 1) % 4;
                self.draw()?;
            }
            Ok(Event::Key(b'e')) => {
                let check = self.report.as_ref().and_then(first_to_do).map(|check| check.extra_data.id.clone());
                if let Some(check) = check {
                    self.page(&["--explain", &check], events)?;
                }
            }
            Ok(Event::Key(b'd')) => self.page(&["--diff"], events)?,
            Ok(Event::Key(b'n')) => {
                let text = super::next(&lesson::all(&Workspace::in_any_edition()?)?);
                self.show(&text, events)?;
            }
            Ok(Event::Key(_)) | Err(RecvTimeoutError::Timeout) => (),
        }
        self.look()?;
        Ok(true)
    }

    /// Grades anew; what was under way is ended.
    fn begin(&mut self) -> Result<()> {
        self.end();
        let errors = File::create(self.dir.path().join("stderr")).or_cannot("write", "a temporary file")?;
        let mut command = self.grade()?;
        // The names have no comma that would split them: the files are below the current directory of the child.
        command.arg("--format").arg(format!("json={}", self.dir.path().join("report.json").display()));
        command.args(["--hint", "3"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).process_group(0);
        self.grading = Some(command.spawn().or_cannot("start", "grade").into_broken()?);
        self.begun = Instant::now();
        self.draw()
    }

    /// Takes the report when the grading has ended.
    fn look(&mut self) -> Result<()> {
        let Some(child) = &mut self.grading else { return Ok(()) };
        if child.try_wait().or_cannot("wait for", "grade").into_broken()?.is_none() {
            return Ok(());
        }
        self.grading = None;
        self.took = Some(self.begun.elapsed());
        self.report = StoredReport::read(&self.dir.path().join("report.json"))?;
        self.draw()
    }

    /// Ends what is under way: the grading, which takes its box down first, and a cargo that it has started.
    fn end(&mut self) {
        if let Some(mut child) = self.grading.take() {
            if let Ok(group) = i32::try_from(child.id()) {
                let _ = killpg(Pid::from_raw(group), Signal::SIGTERM);
            }
            let _ = child.wait();
        }
    }

    fn grade(&self) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe().or_cannot("find", "this program").into_broken()?);
        command.current_dir(&self.root).arg(self.task.id()).arg("--end-with-parent");
        if self.edition == Edition::C {
            command.arg("--submission").arg(&self.root);
        }
        Ok(command)
    }

    fn draw(&self) -> Result<()> {
        let state = match (&self.grading, self.took) {
            (Some(_), _) => "grading …".to_owned(),
            (None, Some(took)) => format!("graded in {:.1} s", took.as_secs_f64()),
            (None, None) => String::new(),
        };
        let (width, height) = size();
        let screen = Screen { task: self.task, report: self.report.as_ref(), state: &state, hints: self.hints };
        print(&format!("\x1b[H\x1b[2J{}", screen.lines(width, height).join("\r\n")))
    }

    /// Shows what `grade` prints with these options, until a key is pressed.
    fn page(&self, options: &[&str], events: &Receiver<Event>) -> Result<()> {
        let output =
            self.grade()?.args(options).stdin(Stdio::null()).output().or_cannot("start", "grade").into_broken()?;
        let text = [output.stdout, output.stderr].concat();
        self.show(&String::from_utf8_lossy(&text), events)
    }

    /// Shows a text, a screen at a time.
    fn show(&self, text: &str, events: &Receiver<Event>) -> Result<()> {
        let (_, height) = size();
        let lines: Vec<&str> = text.lines().collect();
        for part in lines.chunks(height.saturating_sub(1).max(1)) {
            print(&format!("\x1b[H\x1b[2J{}\r\nany key goes on", part.join("\r\n")))?;
            while matches!(events.recv(), Ok(Event::Saved)) {}
        }
        self.draw()
    }
}

fn print(text: &str) -> Result<()> {
    let mut out = io::stdout();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).or_cannot("write to", "the terminal")
}

/// Columns and rows; 80 and 24 where the terminal does not tell.
fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}

/// Sends an event for each change of a source below `folder`.
fn watcher(folder: &Path, sender: Sender<Event>) -> Result<impl Watcher> {
    let changed = move |event: notify::Result<notify::Event>| {
        let is_save = |kind: &EventKind| !matches!(kind, EventKind::Access(_));
        // What a build makes is no save.
        let is_source = |path: &PathBuf| !path.components().any(|part| part.as_os_str() == "target");
        if event.is_ok_and(|event| is_save(&event.kind) && event.paths.iter().any(is_source)) {
            let _ = sender.send(Event::Saved);
        }
    };
    let mut watcher = notify::recommended_watcher(changed).or_cannot("watch", folder)?;
    watcher.watch(folder, RecursiveMode::Recursive).or_cannot("watch", folder)?;
    Ok(watcher)
}

fn read_keys(sender: &Sender<Event>) {
    let mut key = [0];
    loop {
        let event = match io::stdin().read(&mut key) {
            Ok(1..) => Event::Key(key[0]),
            Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
            _ => Event::End,
        };
        let is_end = matches!(event, Event::End);
        if sender.send(event).is_err() || is_end {
            return;
        }
    }
}

/// A terminal that hands over each key at once and shows none; as it was when dropped.
struct KeyByKey(Termios);

impl KeyByKey {
    fn of_stdin() -> Result<Self> {
        let before = tcgetattr(io::stdin().as_fd()).or_cannot("ask", "the terminal for its settings")?;
        let mut now = before.clone();
        now.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG);
        tcsetattr(io::stdin().as_fd(), SetArg::TCSANOW, &now).or_cannot("set", "the terminal")?;
        Ok(Self(before))
    }
}

impl Drop for KeyByKey {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin().as_fd(), SetArg::TCSADRAIN, &self.0);
        let _ = print("\r\n");
    }
}
