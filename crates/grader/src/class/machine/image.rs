//! The machine's image, and how qemu starts a throwaway copy of it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, IntoExit, OrCannot, Result};

/// What runs instead of everything that a machine usually starts.
// It waits for a root that can be written to and for nothing else: no device is looked for, no other service started.
const SERVICE: &str = include_str!("grade.service");

/// Disk, kernel and initrd.
#[derive(Debug, Clone)]
pub struct Image {
    disk: PathBuf,
    kernel: PathBuf,
    initrd: PathBuf,
    qemu: &'static Qemu,
}

/// How a machine of an architecture is emulated.
#[derive(Debug)]
struct Qemu {
    /// Debian's name of the architecture.
    arch: &'static str,
    program: &'static str,
    machine: &'static [&'static str],
    /// An old processor is faster to emulate than one with every feature.
    emulated: &'static str,
    console: &'static str,
}

#[cfg(not(target_arch = "aarch64"))]
const QEMU: Qemu =
    Qemu { arch: "amd64", program: "qemu-system-x86_64", machine: &[], emulated: "Nehalem", console: "ttyS0" };
#[cfg(target_arch = "aarch64")]
const QEMU: Qemu = Qemu {
    arch: "arm64",
    program: "qemu-system-aarch64",
    machine: &["-machine", "virt,gic-version=max"],
    emulated: "cortex-a72",
    console: "ttyAMA0",
};

impl Image {
    /// The image in a folder, for this machine's architecture.
    ///
    /// # Errors
    /// `Exit::CannotRun` when there is none, or no qemu, with what makes it.
    pub fn open(folder: &Path) -> Result<Self> {
        let qemu = &QEMU;
        let file = |ending: &str| {
            let path = std::path::absolute(folder.join(format!("base-{}.{ending}", qemu.arch))).unwrap_or_default();
            match fs::metadata(&path) {
                Ok(_) => Ok(path),
                Err(why) => Err(Error::cannot_run(format!(
                    "cannot open the machine's image {}: {why}; make it with vm/build base, or name its folder by --image",
                    path.display()
                ))),
            }
        };
        let image = Self { disk: file("qcow2")?, kernel: file("vmlinuz")?, initrd: file("initrd")?, qemu };
        match Command::new(qemu.program).arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).status() {
            Ok(status) if status.success() => Ok(image),
            Ok(status) => Err(Error::cannot_run(format!("{} --version: {status}", qemu.program))),
            Err(why) => {
                let what = format!("cannot run {}: {why}; vm/provision --vm {} installs it", qemu.program, qemu.arch);
                Err(Error::cannot_run(what))
            }
        }
    }

    /// Copies it to another folder, unless it is there already.
    ///
    /// # Errors
    /// `Exit::Usage` with the file and the reason.
    pub fn copy(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).or_cannot("make the folder", folder).into_usage()?;
        for from in [&self.disk, &self.kernel, &self.initrd] {
            let to = folder.join(from.file_name().unwrap_or_default());
            let about = fs::metadata(from).or_cannot("read", from).into_usage()?;
            // Jobs may be using the one that is there: it is replaced by its name, and never written to.
            let is_same = fs::metadata(&to)
                .is_ok_and(|it| it.len() == about.len() && it.modified().ok() >= about.modified().ok());
            if !is_same {
                let new = to.with_extension("new");
                fs::copy(from, &new).and_then(|_| fs::rename(&new, &to)).or_cannot("copy", from).into_usage()?;
            }
        }
        Ok(())
    }

    /// Whether the processor's own virtualisation seems to work here.
    pub fn may_use_kvm(&self) -> bool {
        kvm_works(self.qemu)
    }

    /// The command line of a machine with these two disks, which ends when its work is done.
    pub fn qemu(&self, uses_kvm: bool, given: &Path, result: &Path, console: &Path) -> Vec<String> {
        let qemu = self.qemu;
        let mut words: Vec<String> = [qemu.program].iter().chain(qemu.machine).map(|word| (*word).to_owned()).collect();
        let processor = match uses_kvm {
            true => ["-accel", "kvm", "-cpu", "host"],
            false => ["-accel", "tcg,thread=multi", "-cpu", qemu.emulated],
        };
        words.extend(processor.map(str::to_owned));
        let plain = "-m 2048 -smp 2 -nodefaults -no-user-config -no-reboot -vga none -display none -monitor none -nic none \
            -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny -device virtio-rng-pci";
        words.extend(plain.split_whitespace().map(str::to_owned));
        let disk = |path: &Path, more: &str| format!("file={},if=virtio,{more}", doubled(path));
        words.extend(["-serial".to_owned(), format!("file:{}", doubled(console))]);
        words.extend(["-drive".to_owned(), disk(&self.disk, "format=qcow2,snapshot=on")]);
        words.extend(["-drive".to_owned(), disk(given, "format=raw,readonly=on")]);
        words.extend(["-drive".to_owned(), disk(result, "format=raw")]);
        words.extend(["-kernel".to_owned(), self.kernel.display().to_string()]);
        words.extend(["-initrd".to_owned(), self.initrd.display().to_string()]);
        // The machine is handed one unit, and told to start that instead of its usual target.
        let boot = format!(
            "root=/dev/vda3 ro console={} quiet mitigations=off systemd.unit=grade.service \
             systemd.set_credential_binary=systemd.extra-unit.grade.service:{}",
            qemu.console,
            base64(SERVICE.as_bytes())
        );
        words.extend(["-append".to_owned(), boot]);
        words
    }
}

/// In qemu's options a comma ends a value, and two are one.
fn doubled(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// That /dev/kvm is there says little: in a virtual machine it may be, and not work.
fn kvm_works(qemu: &Qemu) -> bool {
    if fs::File::options().write(true).open("/dev/kvm").is_err() {
        return false;
    }
    let mut command = Command::new("timeout");
    command.args(["10", qemu.program]).args(qemu.machine);
    command.args("-accel kvm -cpu host -nodefaults -display none -S -monitor stdio".split_whitespace());
    let mut asked = match command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
        Ok(asked) => asked,
        Err(_) => return false,
    };
    let _ = asked.stdin.take().map(|mut monitor| monitor.write_all(b"quit\n"));
    asked.wait().is_ok_and(|status| status.success())
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letter = |bits: u32| LETTERS.get(bits as usize & 63).map_or('=', |byte| char::from(*byte));
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for nth in 0..4 {
            text.push(if nth <= three.len() { letter(bits >> (18 - 6 * nth)) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_as_the_rfc_has_it() {
        let encoded = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
        assert_eq!(encoded, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
    }

    #[test]
    fn the_machine_has_no_network_and_its_command_line_fits_the_kernel() {
        let some = PathBuf::from("/some,where");
        let image = Image { disk: some.clone(), kernel: some.clone(), initrd: some, qemu: &QEMU };
        let words = image.qemu(false, Path::new("in"), Path::new("out"), Path::new("console"));
        assert!(words.windows(2).any(|two| two == ["-nic", "none"]));
        assert!(words.iter().any(|word| word == "file=/some,,where,if=virtio,format=qcow2,snapshot=on"));
        assert!(words.last().is_some_and(|boot| boot.len() < 2048), "{}", words.last().unwrap().len());
    }
}
