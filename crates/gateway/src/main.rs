// A program exports nothing: `pub` here means "to the rest of the program".
#![allow(unreachable_pub, dead_code)]

mod cli;
mod config;

fn main() -> std::process::ExitCode {
    cli::demo()
}
