//! The files a program needs in order to start: loader, libraries, interpreter.
//!
//! An executed file rarely starts alone. A dynamic ELF program names a *loader* (its `PT_INTERP`), which finds the
//! libraries it needs (`DT_NEEDED`) and theirs. A script names an interpreter after `#!`, which is a program again. An
//! empty root has none of them, and execve then reports "No such file or directory" for a file that exists.
//!
//! Only the loader knows where a library is found: its search path, its cache, `$ORIGIN` and CPU-specific folders. So
//! [`needs`] asks it (`--list`), as ldd(1) does. This runs the loader that the file names, which maps the file: use it
//! only for trusted programs. Libraries opened later by dlopen(3), such as plugins, are not listed.
//!
//! Look: `ldd /bin/ls`, `readelf --dynamic /bin/ls`, `readelf --program-headers /bin/ls`.
//! Manual: ld.so(8), ldd(1), elf(5), execve(2).

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::errno::Errno;
use object::elf::{self, FileHeader32, FileHeader64};
use object::read::ReadCache;
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::{Endianness, StringTable};

use crate::error::{Error, OrCannot, Result};
use crate::step;

/// What a program needs, besides itself, in order to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Needs {
    /// A loader and its libraries.
    Dynamic {
        /// The loader, which the kernel starts first.
        loader: PathBuf,
        /// All libraries it maps, in the loader's order: a library comes before those it needs.
        libraries: Vec<Library>,
    },
    /// Nothing.
    Static,
    /// The interpreter of its first line, with its needs.
    Script {
        /// The program after `#!`.
        interpreter: Box<Program>,
        /// The program that env(1) finds, for `#!/usr/bin/env NAME`.
        by_env: Option<Box<Program>>,
    },
}

/// A program and its needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The path by which it was requested; a script's first line looks for it there.
    pub path: PathBuf,
    /// What it needs.
    pub needs: Needs,
}

/// A library that the loader maps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// Its name in `DT_NEEDED`, such as `libc.so.6`.
    pub name: OsString,
    /// Where the loader found it and will look again. Often a symbolic link.
    pub path: PathBuf,
}

/// Depth of nested interpreters after which the kernel gives up (`ELOOP`).
const MAX_SCRIPT_DEPTH: usize = 5;
/// Bytes that the kernel reads to determine the format (`BINPRM_BUF_SIZE`).
const FIRST_BYTES: u64 = 256;
/// Where `env NAME` of a script is looked up: Debian's default PATH.
const SEARCH_PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Finds out what `program` needs to start on this machine.
///
/// # Errors
/// `ENOENT` when the program, its loader or its interpreter does not exist; `EACCES` when it may not be executed;
/// `ENOEXEC` when it is not a program; in words when it is for another machine, or when a library is not found: then
/// which one, and which file needs it.
pub fn needs(program: &Path) -> Result<Needs> {
    needs_at_depth(program, 0)
}

fn needs_at_depth(program: &Path, depth: usize) -> Result<Needs> {
    if depth > MAX_SCRIPT_DEPTH {
        return Err(Error::new("start", program.display(), Errno::ELOOP));
    }
    // The kernel passes the resolved path to the loader, which uses it for `$ORIGIN`.
    let file = fs::canonicalize(program).or_cannot("find", program.display())?;
    let kind = fs::metadata(&file).or_cannot("look at", program.display())?;
    if !kind.is_file() {
        return Err(Error::new("start", program.display(), Errno::EACCES).hint("it is not a regular file"));
    }
    if kind.permissions().mode() & 0o111 == 0 {
        return Err(
            Error::new("start", program.display(), Errno::EACCES).hint("it has no execute permission: see chmod(1)")
        );
    }
    let mut first = Vec::new();
    File::open(&file)
        .and_then(|opened| opened.take(FIRST_BYTES).read_to_end(&mut first))
        .or_cannot("read", program.display())?;
    if let Some(line) = first.strip_prefix(b"#!") {
        return script(program, line, depth);
    }
    if !first.starts_with(&elf::ELFMAG) {
        return Err(Error::new("start", program.display(), Errno::ENOEXEC)
            .hint("it is neither an ELF program nor a script whose first line says #! and an interpreter"));
    }
    let object = Object::read(&file)?;
    let ours = Object::read(Path::new("/proc/self/exe"))?;
    if object.machine != ours.machine {
        let mismatch = format!("it is for {}, this machine is {}", object.machine, ours.machine);
        return Err(Error::new("start", program.display(), mismatch));
    }
    match object.interpreter {
        Some(loader) => {
            let libraries = ask_loader(&loader, &file)?;
            Ok(Needs::Dynamic { loader, libraries })
        }
        None if object.is_program && object.needed.is_empty() => Ok(Needs::Static),
        None => Err(Error::new("start", program.display(), Errno::ENOEXEC)
            .hint("it is an object file or a library: no loader is named in it")),
    }
}

/// Reads the first line as the kernel does: blanks, the interpreter, and the rest as one argument. See execve(2).
fn script(program: &Path, after_mark: &[u8], depth: usize) -> Result<Needs> {
    let line = after_mark.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let mut words = line.splitn(2, |byte| *byte == 0).next().unwrap_or_default().split(is_blank);
    let interpreter = words.find(|word| !word.is_empty()).map(|word| Path::new(OsStr::from_bytes(word)));
    let Some(interpreter) = interpreter else {
        return Err(Error::new("start", program.display(), Errno::ENOEXEC).hint("its first line names no interpreter"));
    };
    let named = |path: &Path, depth| {
        let needs = needs_at_depth(path, depth).or_cannot("find the interpreter of", program.display());
        needs.map(|needs| Box::new(Program { path: path.to_owned(), needs }))
    };
    let found = named(interpreter, depth + 1).map_err(|error| match interpreter.as_os_str().as_bytes().last() {
        Some(b'\r') => error.hint("its first line ends like a Windows text: see dos2unix(1)"),
        _ => error,
    })?;
    let by_env = match interpreter.file_name() {
        Some(name) if name == "env" => {
            let wanted = words.find(|word| !word.is_empty() && !word.starts_with(b"-") && !word.contains(&b'='));
            wanted.map(|name| search(OsStr::from_bytes(name), program)).transpose()?
        }
        _ => None,
    };
    let by_env = by_env.map(|path| named(&path, depth + 2)).transpose()?;
    Ok(Needs::Script { interpreter: found, by_env })
}

/// Finds what env(1) would find.
fn search(name: &OsStr, wanted_by: &Path) -> Result<PathBuf> {
    let library_destinations = SEARCH_PATH.iter().map(|folder| Path::new(folder).join(name));
    let is_program =
        |path: &PathBuf| fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
    library_destinations.into_iter().find(is_program).ok_or_else(|| {
        Error::new(
            format_args!("find {}, the interpreter of", name.to_string_lossy()),
            wanted_by.display(),
            Errno::ENOENT,
        )
    })
}

/// Has the loader list what it would map for `program`.
fn ask_loader(loader: &Path, program: &Path) -> Result<Vec<Library>> {
    // A file may name any program as its loader, and that is about to be executed.
    let name = loader.file_name().unwrap_or_default().as_bytes();
    if !(name.starts_with(b"ld-") || name.starts_with(b"ld.")) {
        let strange = format!("it names {} as its loader, which is not a known loader", loader.display());
        return Err(Error::new("list the libraries of", program.display(), strange));
    }
    step!("elf.list",
        call: "execve(\"{}\", [\"--list\", \"{}\"])", loader.display(), program.display();
        why: "only the loader knows where it will look for libraries, and for those that these need";
        shell: "ldd {}", program.display());
    let listed = run(loader, program, LoaderQuery::List)?;
    if listed.status.success() {
        return parse(&listed.stdout, loader).found.into_iter().map(|library| absolute(library, program)).collect();
    }
    // --list stops at the first missing library. The method of ldd(1) names all of them.
    let traced = parse(&run(loader, program, LoaderQuery::Trace)?.stdout, loader);
    let reason = if traced.missing.is_empty() {
        String::from_utf8_lossy(&listed.stderr).trim().to_owned()
    } else {
        let needers = [program].into_iter().chain(traced.found.iter().map(|library| library.path.as_path()));
        let needers: Vec<&Path> = needers.collect();
        traced.missing.iter().map(|name| missing_library(name, &needers)).collect::<Vec<_>>().join("; ")
    };
    Err(Error::new("start", program.display(), reason))
}

/// How to make a loader list libraries.
#[derive(Clone, Copy)]
enum LoaderQuery {
    /// Fails if a library is missing.
    List,
    /// Continues, and prints "not found".
    Trace,
}

fn run(loader: &Path, program: &Path, ask: LoaderQuery) -> Result<Output> {
    let mut command = Command::new(loader);
    // LD_LIBRARY_PATH and the like would change the answer, and are not set in the container.
    command.env_clear().stdin(Stdio::null());
    match ask {
        LoaderQuery::List => command.arg("--list"),
        LoaderQuery::Trace => command.env("LD_TRACE_LOADED_OBJECTS", "1"),
    };
    let asked = command.arg(program).output();
    asked.or_cannot("run", format_args!("{}, the loader of {}", loader.display(), program.display()))
}

/// The parsed output of a loader.
#[derive(Debug, Default, PartialEq, Eq)]
struct Listing {
    found: Vec<Library>,
    missing: Vec<OsString>,
}

/// Reads lines such as `<tab>libc.so.6 => /lib/libc.so.6 (0x7f…)`.
///
/// The loader itself and the kernel's `linux-vdso.so.1`, which is not a file, are left out.
fn parse(text: &[u8], loader: &Path) -> Listing {
    let mut listing = Listing::default();
    for line in text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_start) {
        if let Some(name) = line.strip_suffix(b" => not found") {
            listing.missing.push(OsStr::from_bytes(name).to_owned());
            continue;
        }
        // Lines without an address are notes, such as "statically linked".
        let Some(end) = rfind(line, b" (0x") else { continue };
        let line = &line[..end];
        let (name, path) = match line.windows(4).position(|four| four == b" => ") {
            Some(arrow) => (&line[..arrow], &line[arrow + 4..]),
            None => (line, line),
        };
        let path = Path::new(OsStr::from_bytes(path));
        if path != loader && path.as_os_str().as_bytes().contains(&b'/') {
            listing.found.push(Library { name: OsStr::from_bytes(name).to_owned(), path: path.to_owned() });
        }
    }
    listing
}

fn rfind(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).rposition(|window| window == wanted)
}

fn absolute(library: Library, program: &Path) -> Result<Library> {
    if library.path.is_absolute() {
        return Ok(library);
    }
    let where_from = format!("{} is found only from this working directory", library.path.display());
    Err(Error::new("start", program.display(), where_from))
}

/// Describes a missing library and which of `needers` needs it.
fn missing_library(missing: &OsStr, needers: &[&Path]) -> String {
    let asks = |path: &&&Path| Object::read(path).is_ok_and(|object| object.needed.iter().any(|name| name == missing));
    match needers.iter().find(asks) {
        Some(needer) => {
            format!("library {}, which {} needs, is not found", missing.to_string_lossy(), needer.display())
        }
        None => format!("library {} is not found", missing.to_string_lossy()),
    }
}

/// The path of each library such that the loader finds it when the program starts at `inside`.
///
/// That is its present path, except for folders given by `$ORIGIN`, the folder of the file that needs the library: they
/// move with the program.
///
/// # Errors
/// When the program or a library cannot be read.
pub fn library_destinations(program: &Path, inside: &Path, libraries: &[Library]) -> Result<Vec<PathBuf>> {
    let program = fs::canonicalize(program).or_cannot("find", program.display())?;
    let mut moved = origin_moves(&program, inside)?;
    let mut library_destinations = Vec::new();
    for library in libraries {
        let new = |(from, to): &(PathBuf, PathBuf)| library.path.strip_prefix(from).ok().map(|rest| to.join(rest));
        let place = moved.iter().find_map(new).unwrap_or_else(|| library.path.clone());
        moved.extend(origin_moves(&library.path, &place)?);
        library_destinations.push(place);
    }
    Ok(library_destinations)
}

/// The folders that an ELF file searches through `$ORIGIN`, before and after moving from `from` to `to`.
fn origin_moves(from: &Path, to: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    if from == to {
        return Ok(Vec::new());
    }
    let search = Object::read(from)?.search;
    Ok(search.iter().filter_map(|folder| expand(folder, from).zip(expand(folder, to))).collect())
}

/// Expands `$ORIGIN` in a folder of a search path; none if it has none. See ld.so(8), "Dynamic string tokens".
fn expand(folder: &[u8], file: &Path) -> Option<PathBuf> {
    let rest = folder.strip_prefix(b"$ORIGIN").or_else(|| folder.strip_prefix(b"${ORIGIN}"))?;
    let mut whole = file.parent()?.as_os_str().as_bytes().to_vec();
    whole.extend(rest);
    Some(PathBuf::from(OsString::from_vec(whole)))
}

/// The parsed parts of an ELF file.
#[derive(Debug)]
struct Object {
    machine: Machine,
    /// Whether it has an entry address. Libraries, object files and cores have none.
    is_program: bool,
    /// `PT_INTERP`: its loader.
    interpreter: Option<PathBuf>,
    /// `DT_NEEDED`: names of the libraries it needs directly.
    needed: Vec<OsString>,
    /// `DT_RPATH` and `DT_RUNPATH`: folders to search first.
    search: Vec<Vec<u8>>,
}

/// Processor and address size in bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Machine {
    processor: elf::Machine,
    bits: u8,
}

impl Object {
    fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).or_cannot("read", path.display())?;
        let data = ReadCache::new(file);
        let wide = Self::parse::<FileHeader64<Endianness>>(&data);
        let narrow = || Self::parse::<FileHeader32<Endianness>>(&data);
        wide.or_else(|_| narrow()).map_err(|error| Error::new("read the ELF file", path.display(), error.to_string()))
    }

    /// Reads program headers only: strip(1) keeps them, and kernel and loader use them.
    fn parse<H: FileHeader<Endian = Endianness>>(data: &ReadCache<File>) -> object::read::Result<Self> {
        let header = H::parse(data)?;
        let endian = header.endian()?;
        let bits = if header.is_type_64() { 64 } else { 32 };
        let entry: u64 = header.e_entry(endian).into();
        let mut object = Self {
            machine: Machine { processor: header.e_machine(endian), bits },
            is_program: matches!(header.e_type(endian), elf::ET_EXEC | elf::ET_DYN) && entry != 0,
            interpreter: None,
            needed: Vec::new(),
            search: Vec::new(),
        };
        let segments = header.program_headers(endian, data)?;
        for segment in segments {
            if let Some(path) = segment.interpreter(endian, data)? {
                object.interpreter = Some(PathBuf::from(OsStr::from_bytes(path)));
            }
            let Some(entries) = segment.dynamic(endian, data)? else { continue };
            let value =
                |wanted| entries.iter().find(|entry| entry.tag(endian) == wanted).map(|entry| entry.val(endian));
            // Names are given by address; a loaded segment maps it to a file offset.
            let Some(address) = value(elf::DT_STRTAB) else { continue };
            let offset = segments.iter().filter(|loaded| loaded.p_type(endian) == elf::PT_LOAD).find_map(|loaded| {
                let start: u64 = loaded.p_vaddr(endian).into();
                let size: u64 = loaded.p_filesz(endian).into();
                let offset: u64 = loaded.p_offset(endian).into();
                (start..start.saturating_add(size)).contains(&address).then(|| offset.wrapping_add(address - start))
            });
            let Some(offset) = offset else { continue };
            let end = offset.saturating_add(value(elf::DT_STRSZ).unwrap_or(0));
            let names = StringTable::new(data, offset, end);
            for entry in entries.iter().take_while(|entry| entry.tag(endian) != elf::DT_NULL) {
                match entry.tag(endian) {
                    elf::DT_NEEDED => object.needed.push(OsStr::from_bytes(entry.string(endian, names)?).to_owned()),
                    elf::DT_RPATH | elf::DT_RUNPATH => {
                        let folders = entry.string(endian, names)?.split(|byte| *byte == b':');
                        object.search.extend(folders.map(<[u8]>::to_vec));
                    }
                    _ => (),
                }
            }
        }
        Ok(object)
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.processor {
            elf::EM_386 => "Intel 80386",
            elf::EM_X86_64 => "x86-64",
            elf::EM_ARM => "ARM",
            elf::EM_AARCH64 => "AArch64",
            elf::EM_RISCV => "RISC-V",
            elf::EM_PPC64 => "PowerPC",
            elf::EM_S390 => "IBM S/390",
            other => return write!(out, "processor number {} ({} bits)", other.0, self.bits),
        };
        write!(out, "{name} ({} bits)", self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_also_with_blanks_in_paths_and_holes() {
        let text = b"\tlinux-vdso.so.1 (0x00007ffc)\n\tlibc.so.6 => /lib/x86 64/libc.so.6 (0x00007f)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n\tlibgone.so => not found\n\tstatically linked\n";
        let listing = parse(text, Path::new("/lib64/ld-linux-x86-64.so.2"));
        let libc = Library { name: "libc.so.6".into(), path: "/lib/x86 64/libc.so.6".into() };
        assert_eq!(listing, Listing { found: vec![libc], missing: vec!["libgone.so".into()] });
    }

    #[test]
    fn a_folder_by_origin_moves_with_the_program_and_another_stays() {
        let (from, to) = (Path::new("/opt/app/bin/run"), Path::new("/run"));
        assert_eq!(expand(b"$ORIGIN/../lib", from), Some("/opt/app/bin/../lib".into()));
        assert_eq!(expand(b"${ORIGIN}/../lib", to), Some("//../lib".into()));
        assert_eq!(expand(b"/opt/app/lib", from), None);
    }
}
