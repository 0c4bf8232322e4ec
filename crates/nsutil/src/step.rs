//! Announces each step taken on the kernel.
//!
//! A container is a dozen system calls in the right order, and none of them is visible. So every function of this
//! library announces its step *before* taking it: a name, the call, its purpose, and the equivalent shell command.
//! Announcements are events of the `tracing` crate under the target [`TARGET`]; without a subscriber one costs a load
//! and a branch, and its text is not formatted.
//!
//! A program's `--explain` subscribes with [`print_to`]. Tests inject faults at steps, for example a kill just before a
//! mount (see the module `failpoint`, which installed programs do not contain).
//!
//! Look: `namespace_prog --explain`, beside `strace -f namespace_prog`.

pub mod journal;

use std::fmt::{Debug, Write as _};
use std::io::Write;
use std::sync::Mutex;

use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// The `tracing` target of all steps.
pub const TARGET: &str = "nsutil::step";

/// Announces a step: its name, the call, its purpose, and the equivalent shell command.
///
/// ```
/// fn mount_proc(dir: &str) -> nsutil::Result<()> {
///     nsutil::step!("mount.proc", call: "mount(\"proc\", \"{dir}/proc\", \"proc\")";
///         why: "ps and top read /proc; a new one shows only the processes of this PID namespace";
///         shell: "mount -t proc proc {dir}/proc");
///     // … and then the call.
///     Ok(())
/// }
/// # mount_proc("/mnt").unwrap();
/// ```
#[macro_export]
macro_rules! step {
    ($name:literal, call: $call:literal $(, $call_arg:expr)*;
     why: $why:literal $(, $why_arg:expr)*;
     shell: $shell:literal $(, $shell_arg:expr)* $(,)?) => {
        $crate::__announce!(&$crate::step::Step {
            name: $name,
            call: ::std::format_args!($call $(, $call_arg)*),
            why: ::std::format_args!($why $(, $why_arg)*),
            shell: ::std::format_args!($shell $(, $shell_arg)*),
        })
    };
}

/// Announces a step.
#[cfg(not(feature = "failpoints"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __announce {
    ($step:expr) => {
        $crate::step::announce($step)
    };
}

/// Announces a step, and fails instead of taking it if a test has injected a fault.
#[cfg(feature = "failpoints")]
#[doc(hidden)]
#[macro_export]
macro_rules! __announce {
    // A `match`, because its arms see the step while its temporaries live: a `let` keeps `format_args!` alive only since Rust 1.89.
    ($step:expr) => {
        match $step {
            step => {
                $crate::step::announce(step);
                if let Err(error) = $crate::failpoint::reach(step.name) {
                    return $crate::failpoint::Refusal::from_error(error);
                }
            }
        }
    };
}

/// One step, as built by [`step!`](crate::step!); its texts are formatted only if there is a subscriber.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// Stable name, such as `clone3` or `cgroup.limit`.
    pub name: &'static str,
    /// The system call with its arguments, as strace(1) would show it.
    pub call: std::fmt::Arguments<'a>,
    /// Why it is needed.
    pub why: std::fmt::Arguments<'a>,
    /// The equivalent shell command.
    pub shell: std::fmt::Arguments<'a>,
}

/// Announces a step to subscribers.
pub fn announce(step: &Step<'_>) {
    tracing::info!(
        target: TARGET,
        step = step.name,
        call = %step.call,
        why = %step.why,
        shell = %step.shell,
    );
}

/// Writes every further step to `out`, in this process and its children.
///
/// Each line starts with the PID of the acting process in its own PID namespace. ANSI colours are written; pass an
/// `anstream` stream to have them removed where needed. Has no effect when called a second time.
pub fn print_to(out: impl Write + Send + 'static) {
    let text = tracing_subscriber::registry().with(StepPrinter { out: Mutex::new(out) });
    // Fails only if there is a subscriber already, which then gets the steps.
    let _ = tracing::subscriber::set_global_default(text);
}

struct StepPrinter<W> {
    out: Mutex<W>,
}

impl<S: tracing::Subscriber, W: Write + Send + 'static> Layer<S> for StepPrinter<W> {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != TARGET {
            return;
        }
        let mut text = StepText::default();
        event.record(&mut text);
        let text = text.paragraph(std::process::id());
        if let Ok(mut out) = self.out.lock() {
            // Failure to write the explanation does not stop the work.
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        }
    }
}

#[derive(Default)]
struct StepText {
    call: String,
    why: String,
    shell: String,
}

impl StepText {
    fn paragraph(&self, pid: u32) -> String {
        const BOLD: &str = "\x1b[1m";
        const PLAIN: &str = "\x1b[0m";
        format!("[process {pid}] {BOLD}{}{PLAIN}\n      why    {}\n      shell  {}\n", self.call, self.why, self.shell)
    }
}

impl Visit for StepText {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = match field.name() {
            "call" => &mut self.call,
            "why" => &mut self.why,
            "shell" => &mut self.shell,
            _ => return,
        };
        // Writing to a String cannot fail.
        let _ = write!(text, "{value:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_step_is_printed_with_call_reason_and_shell_command() {
        let out = Shared::default();
        let text = tracing_subscriber::registry().with(StepPrinter { out: Mutex::new(out.clone()) });
        let text = tracing::subscriber::with_default(text, || -> crate::Result<()> {
            let name = "web";
            crate::step!("uts.name", call: "sethostname(\"{name}\")"; why: "a name of its own"; shell: "hostname {name}");
            tracing::info!("some other event");
            Ok(())
        });
        text.unwrap();
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("sethostname(\"web\")"), "{text}");
        assert!(text.contains("why    a name of its own\n      shell  hostname web\n"), "{text}");
        assert!(!text.contains("some other event"), "{text}");
    }
}
