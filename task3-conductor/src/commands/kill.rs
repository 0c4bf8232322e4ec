//! `conductor kill NAME…`: send a signal to containers.

use std::process::ExitCode;
use std::str::FromStr;

use nix::sys::signal::Signal;
use nsutil::Result;
use nsutil::process::SignalNumber;

use super::each;
use crate::container::disposition::accepts_signal;
use crate::output::advice::closest;
use crate::output::escape::quoted;
use crate::output::failure::{Failure, remark};
use crate::output::say;
use crate::spec::name::ContainerName;
use crate::store::Store;

/// Send a signal to the first process of containers; they stay listed until `stop`
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor kill web
  conductor kill -s HUP web db")]
pub struct Kill {
    /// Containers whose first process receives the signal
    #[arg(required = true)]
    names: Vec<ContainerName>,
    /// Signal: a name with or without SIG, or a number
    #[arg(short, long, default_value = "KILL", value_name = "SIGNAL", allow_hyphen_values = true)]
    signal: SignalArg,
}

/// A signal by its name or number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SignalArg(SignalNumber);

impl Kill {
    /// Sends it to each.
    ///
    /// # Errors
    /// When a container does not exist or has exited; the others receive the signal.
    pub fn run(self, store: &Store) -> Result<ExitCode, Failure> {
        each(&self.names, |name| self.send(store, name))
    }

    fn send(&self, store: &Store, name: &ContainerName) -> Result<()> {
        let (_, init) = store.running_container(name, "send a signal to")?;
        let SignalArg(signal) = self.signal;
        let always = [SignalNumber::NONE, SignalNumber::of(Signal::SIGKILL), SignalNumber::of(Signal::SIGSTOP)];
        if !always.contains(&signal) && !accepts_signal(&init, signal) {
            remark(format_args!(
                "the first process of {name} has no handler for {signal}, so the kernel drops it (process 1 of a PID namespace)"
            ));
        }
        init.send(signal)?;
        say(&format!("{name}\n"))
    }
}

impl FromStr for SignalArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        let name = format!("SIG{}", upper.strip_prefix("SIG").unwrap_or(&upper));
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let by_number = || text.parse().ok().and_then(SignalNumber::new);
        let by_name = || name.parse().ok().map(SignalNumber::of).or_else(|| real_time(&name));
        let signal = if is_number { by_number() } else { by_name() };
        signal.map(Self).ok_or_else(|| {
            let meant = closest(&name, Signal::iterator().map(|known| known.as_str().to_owned()));
            let meant = meant.filter(|_| !is_number).map(|closest| format!("did you mean {closest}? "));
            let meant = meant.unwrap_or_default();
            format!(
                "{} is not a signal: {meant}see signal(7) for names, for example TERM, SIGHUP, RTMIN+3 or 9",
                quoted(text)
            )
        })
    }
}

/// `SIGRTMIN`, `SIGRTMIN+N`, `SIGRTMAX`, `SIGRTMAX-N`.
fn real_time(name: &str) -> Option<SignalNumber> {
    let (first, last) = SignalNumber::REAL_TIME;
    let away = |rest: &str, sign: char| match rest.strip_prefix(sign) {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok(),
        _ => rest.is_empty().then_some(0),
    };
    let number = match (name.strip_prefix("SIGRTMIN"), name.strip_prefix("SIGRTMAX")) {
        (Some(rest), _) => away(rest, '+').and_then(|away: i32| first.checked_add(away)),
        (_, Some(rest)) => away(rest, '-').and_then(|away: i32| last.checked_sub(away)),
        _ => None,
    };
    number.filter(|number| (first..=last).contains(number)).and_then(SignalNumber::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_a_name_and_a_number() {
        for text in ["TERM", "SIGTERM", "term", "15"] {
            assert_eq!(text.parse(), Ok(SignalArg(SignalNumber::of(Signal::SIGTERM))));
        }
        for (text, number) in [("0", 0), ("34", 34), ("RTMIN+3", 37), ("SIGRTMIN", 34), ("rtmax-1", 63), ("64", 64)] {
            assert_eq!(text.parse(), Ok(SignalArg(SignalNumber::new(number).unwrap())), "{text}");
        }
        for wrong in [
            "",
            "-9",
            "99",
            "32",
            "33",
            "65",
            "RTMIN+31",
            "RTMIN-1",
            "RTMAX-31",
            "RTMIN+",
            "+9",
            "SIG",
            "NOSUCH",
            "9 ",
            "SIGSIGTERM",
        ] {
            assert!(wrong.parse::<SignalArg>().unwrap_err().contains("for example TERM"), "{wrong:?}");
        }
        assert!("SIGTREM".parse::<SignalArg>().unwrap_err().contains("did you mean SIGTERM?"));
    }
}
