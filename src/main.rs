//! The program: everything is in `docmill::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    docmill::cli::main()
}
