//! The four labs, and the names under which people type and read them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One of the four labs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Namespaces, by system calls.
    Task1,
    /// A container, from the command line.
    Task2,
    /// The conductor.
    Task3,
    /// Services in several containers.
    Task4,
}

impl Task {
    /// All of them, in the order they are taught.
    pub const ALL: [Task; 4] = [Task::Task1, Task::Task2, Task::Task3, Task::Task4];

    /// Its number, from 1.
    pub fn number(self) -> u32 {
        self as u32 + 1
    }

    /// The word used on the command line and in rubrics: `task1`.
    pub fn id(self) -> &'static str {
        match self {
            Task::Task1 => "task1",
            Task::Task2 => "task2",
            Task::Task3 => "task3",
            Task::Task4 => "task4",
        }
    }

    /// Whether its program is a tool that is called again and again; else it is one program that runs once.
    pub fn is_tool(self) -> bool {
        matches!(self, Task::Task3 | Task::Task4)
    }

    /// Its folder in the workspace.
    pub fn folder(self) -> &'static str {
        match self {
            Task::Task1 => "task1-namespaces",
            Task::Task2 => "task2-cli-container",
            Task::Task3 => "task3-conductor",
            Task::Task4 => "task4-services",
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {}", self.number())
    }
}

impl FromStr for Task {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Task::ALL
            .into_iter()
            .find(|task| task.id() == text)
            .ok_or_else(|| format!("no task is called {text:?}: they are task1, task2, task3 and task4"))
    }
}
