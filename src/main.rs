//! The `airkeep` program: the library's operations on a terminal.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
