//! The `medalist` program: see the library's overview for how it is put together.

use std::process::ExitCode;

fn main() -> ExitCode {
    medalist::cli::main()
}
