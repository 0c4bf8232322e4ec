//! Images from a registry on this host: with and without TLS, for another machine, and one that dies in the middle.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tar::EntryType;

use crate::planted::{Forged, add, alone, archive, layers};
use crate::{has, sh};
use testlab::host::within;

/// A registry that ends with the test.
struct Registry(Child);

impl Registry {
    fn start(folder: &Path, port: u16, tls: bool) -> Self {
        let at = folder.display();
        let certificate = if tls {
            format!("  tls:\n    certificate: {at}/cert.pem\n    key: {at}/key.pem\n")
        } else {
            String::new()
        };
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {at}/data\nhttp:\n  addr: 127.0.0.1:{port}\n{certificate}"
        );
        let file = folder.join(format!("config-{port}.yml"));
        fs::write(&file, config).unwrap();
        let mut command = Command::new("docker-registry");
        let child = command.arg("serve").arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < within(Duration::from_secs(20)), "the registry does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self(child)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Passes on what the registry says, and hangs up on everybody after so many bytes in all: it dies in the middle of a layer. skopeo
/// asks again for the rest, on several connections at once.
fn dying(port: u16, to: u16, most: usize) {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let left = Arc::new(AtomicUsize::new(most));
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
            let (mut from, mut there) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from, &mut there));
            let (mut server, mut client, left) = (server, client, Arc::clone(&left));
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = server.read(&mut buffer) {
                    let take = |left: usize| left.checked_sub(length);
                    let is_dead = left.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_err();
                    if is_dead || client.write_all(&buffer[..length]).is_err() {
                        left.store(0, Ordering::Release);
                        break;
                    }
                }
                let _ = (client.shutdown(std::net::Shutdown::Both), server.shutdown(std::net::Shutdown::Both));
            });
        }
    });
}

#[test]
#[ignore = "needs root: make test"]
fn images_are_pulled_from_a_registry_and_built_upon() {
    if !["skopeo", "docker-registry", "openssl"].iter().all(|program| has(program)) {
        return;
    }
    let (host, folder) = (alone("oci-registry"), tempfile::tempdir().unwrap());
    sh("ip link set lo up");
    let at = folder.path().display();
    let content: Vec<u8> = (0_u32..1 << 18).flat_map(|number| number.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
    let mut forged = Forged::new();
    forged.layer(&archive(|to| {
        add(to, EntryType::Directory, "srv/", "", b"");
        add(to, EntryType::Regular, "srv/large", "", &content);
    }));
    forged.config = serde_json::json!({"Env": ["FROM_THERE=yes"], "WorkingDir": "/srv"});
    let layout = forged.finish();
    let mut other = Forged::new();
    other.machine = "s390x";
    other.layer(&archive(|to| add(to, EntryType::Regular, "x", "", b"x")));
    let other = other.finish();
    let registry = Registry::start(folder.path(), 5000, false);
    for (image, name) in [(&layout, "eg:1"), (&other, "other")] {
        sh(&format!(
            "skopeo copy -q --override-arch s390x --dest-tls-verify=false oci:{} docker://127.0.0.1:5000/lab/{name}",
            image.path().display()
        )
        .replace("--override-arch s390x ", if name == "other" { "--override-arch s390x " } else { "" }));
    }
    host.ok(&["pull", "--insecure", "127.0.0.1:5000/lab/eg:1"]);
    assert_eq!(fs::read(layers(&host, "eg-1")[0].join("srv/large")).unwrap(), content);
    // What was pulled is FROM's answer, also without the registry.
    drop(registry);
    let conductorfile = folder.path().join("Conductorfile");
    fs::write(&conductorfile, "FROM docker://127.0.0.1:5000/lab/eg:1\nWORKDIR more\n").unwrap();
    let built = host.run(&["build", "made", conductorfile.to_str().unwrap()]);
    assert_eq!(built.code, 0, "{built:?}");
    let made = crate::planted::record(&host, "made");
    assert_eq!((&made["environment"]["FROM_THERE"], &made["working_directory"]), (&"yes".into(), &"/srv/more".into()));
    assert_eq!(layers(&host, "made")[1], layers(&host, "eg-1")[0]);
    let refused = |words: &[&str], reason: &str| {
        let outcome = host.run(words);
        let said: Vec<&str> = outcome.err.lines().filter(|line| !line.starts_with("  ")).collect();
        assert_eq!(outcome.code, 125, "{words:?}: {outcome:?}");
        assert!(
            said.len() == 1 && said[0].starts_with("conductor: cannot ") && said[0].contains(reason),
            "{words:?}: {said:?}"
        );
        let building = fs::read_dir(host.store.join(".cache/building")).unwrap().count();
        assert_eq!(building, 0, "{words:?}");
    };
    refused(&["pull", "--insecure", "127.0.0.1:5000/lab/eg:1"], "connection refused");
    let _registry = Registry::start(folder.path(), 5001, false);
    refused(&["pull", "127.0.0.1:5001/lab/eg:1"], "--insecure takes a registry without TLS");
    refused(&["pull", "--insecure", "127.0.0.1:5001/lab/nosuch"], "skopeo: ");
    refused(&["pull", "--insecure", "127.0.0.1:5001/lab/other"], "it is for linux/s390x, and this machine is");
    dying(5002, 5001, 300_000);
    refused(&["pull", "--insecure", "127.0.0.1:5002/lab/eg:1", "dead"], "skopeo: ");
    let subject = "-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1";
    sh(&format!("cd {at}; openssl req -x509 -newkey rsa:2048 -nodes -days 2 {subject} -keyout key.pem -out cert.pem"));
    let _with_tls = Registry::start(folder.path(), 5003, true);
    refused(&["pull", "127.0.0.1:5003/lab/eg:1"], "--insecure takes a registry without TLS, or with a certificate");
    host.ok(&["pull", "--insecure", "127.0.0.1:5003/lab/eg:1", "secret"]);
    assert_eq!(layers(&host, "secret"), layers(&host, "eg-1"));
    let alone = host.conductor(&["pull", "127.0.0.1:5003/lab/eg:1"]).env("PATH", "/nosuch").output().unwrap();
    assert!(String::from_utf8_lossy(&alone.stderr).contains("not installed; apt install skopeo"), "{alone:?}");
}
