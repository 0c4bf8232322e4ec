//! What of the caller's surroundings counts, and what does not: umask, environment, line ends of settings.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use testlab::host::Host;

#[test]
#[ignore = "needs root: make test"]
fn what_is_made_has_its_mode_whatever_the_callers_umask() {
    let host = Host::new("umask");
    let under = |mask: &str, words: &[&str]| {
        let command = host.conductor(words);
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &format!("umask {mask}; exec \"$@\""), "sh"]).arg(command.get_program());
        let output = shell.args(command.get_args()).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let look =
        "stat -c '%a %n' / /etc/hosts /etc/resolv.conf /dev /dev/shm /dev/null /new; touch /tmp/x; stat -c %a /tmp/x";
    let made = |mask: &str| {
        let volume = format!("{}:/new", host.store.join(".images").display());
        let options = ["-q", "run", "--rm", "-u", "nobody", "-v", &volume, "img", "q", "--", "bash", "-c", look];
        let seen = under(mask, &options);
        under(mask, &["run", "-d", "img", "web", "--", "sleep", "infinity"]);
        let files = std::process::Command::new("find")
            .arg(host.container("web"))
            .args(["-maxdepth", "1", "-printf", "%m %f\\n"])
            .output();
        let files = String::from_utf8(files.unwrap().stdout).unwrap();
        host.ok(&["stop", "-t", "0", "web"]);
        (seen, files)
    };
    let usual = made("022");
    assert!(usual.0.contains("644 /etc/hosts\n644 /etc/resolv.conf\n"), "{usual:?}");
    for mask in ["077", "000", "777"] {
        assert_eq!(made(mask), usual, "{mask}");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn line_ends_of_windows_in_the_settings_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::copy(own.join("conductor.sh"), folder.path().join("conductor.sh")).unwrap();
    let settings = fs::read_to_string(own.join("config.sh")).unwrap();
    let run = |settings: &str| {
        fs::write(folder.path().join("config.sh"), settings).unwrap();
        let mut command = std::process::Command::new("sh");
        command
            .arg(folder.path().join("conductor.sh"))
            .arg("ps")
            .env("CONDUCTOR_BINARY", env!("CARGO_BIN_EXE_conductor"));
        command.output().unwrap()
    };
    assert!(run(&settings).status.success());
    let output = run(&settings.replace('\n', "\r\n"));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(125) && said.lines().count() == 1 && said.contains("CR LF"), "{said}");
    // What it says helps.
    let cure = said.split('`').nth(1).unwrap();
    assert!(std::process::Command::new("sh").args(["-c", cure]).status().unwrap().success());
    assert_eq!(fs::read_to_string(folder.path().join("config.sh")).unwrap(), settings);
}

#[test]
#[ignore = "needs root: make test"]
fn a_variable_without_a_value_has_the_callers() {
    let host = Host::new("env-key");
    let mut command =
        host.conductor(&["-q", "run", "--rm", "-e", "MINE", "-e", "B=c", "img", "q", "--", "printenv", "MINE", "B"]);
    let output = command.env("MINE", "two words").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "two words\nc\n", "{output:?}");
    let unset = host.conductor(&["run", "-e", "MINE", "img", "q", "--", "true"]).env_remove("MINE").output().unwrap();
    assert!(
        unset.status.code() == Some(125) && String::from_utf8_lossy(&unset.stderr).contains("is not a variable"),
        "{unset:?}"
    );
}
