//! What a program needs to start: its loader and libraries, or its interpreter.
//!
//! Run: `cargo run --example elf`, or `cargo run --example elf -- /usr/bin/ldd`

use std::path::Path;

use nsutil::elf::{Needs, needs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let program = std::env::args().nth(1).unwrap_or_else(|| "/bin/ls".to_owned());
    tell(Path::new(&program), &needs(Path::new(&program))?);
    Ok(())
}

fn tell(program: &Path, needs: &Needs) {
    let program = program.display();
    match needs {
        Needs::Static => println!("{program} needs nothing"),
        Needs::Dynamic { loader, libraries } => {
            println!("{program} is loaded by {}", loader.display());
            for library in libraries {
                println!("  {:24} is {}", library.name.to_string_lossy(), library.path.display());
            }
        }
        Needs::Script { interpreter, by_env } => {
            println!("{program} is a script for {}", interpreter.path.display());
            for program in [interpreter].into_iter().chain(by_env) {
                tell(&program.path, &program.needs);
            }
        }
    }
}
