//! `llm-gateway`: a self-hosted gateway between programs and LLM providers.

// A program exports nothing: `pub` here means "to the rest of the program".
#![allow(unreachable_pub)]

mod access;
mod admission;
mod api;
mod attempt;
mod cache;
mod call;
mod cli;
mod config;
mod conversation;
mod decimal;
mod dispatch;
mod estimate;
mod gateway;
mod keys;
mod limits;
mod pipeline;
mod providers;
mod relay;
mod reload;
mod request_id;
mod serve;
mod settle;
mod steps;
mod store;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command, EXIT_USAGE};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let command = Cli::parse().into_command();
    let told = match command {
        Command::Serve(arguments) => return serve::run(&arguments.into()),
        Command::Sandbox(arguments) => return serve::sandbox(arguments.port.unwrap_or(0)),
        Command::Check(arguments) => arguments.run(&config::System).map_err(|problems| problems.to_string()),
        Command::Explain(arguments) => serve::explain(&arguments),
        Command::Keys(arguments) => keys::command::run(arguments, &config::System),
        Command::Import(_) => Err(command.not_built().unwrap_or_default()),
    };
    match told {
        Ok(text) => {
            cli::print(&text);
            ExitCode::SUCCESS
        }
        Err(text) => {
            cli::complain(&format!("{}\n", text.trim_end()));
            EXIT_USAGE.into()
        }
    }
}
