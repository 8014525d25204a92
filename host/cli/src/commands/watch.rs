use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use host_report::{Options, Refresh, read, state};
use host_serve::{Watched, watch};
use host_trainer::records::Ending;
use serde::Serialize;

use crate::out::print;
use crate::signal;

/// Show the report of a run in a browser on this machine while it trains. The page looks for news
/// every few seconds; Ctrl-C ends it.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Folder of a run, which may go on meanwhile.
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Port to listen on at 127.0.0.1; 0 takes one that is free.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub port: u16,
    /// Seconds after which the page looks for news.
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub every: u32,
    /// Print the address as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Where the page is.
#[derive(Serialize)]
struct Address {
    url: String,
}

/// The report of a folder.
struct Folder {
    run: PathBuf,
    every: u32,
}

impl Watched for Folder {
    fn state(&self) -> u64 {
        state(&self.run)
    }

    fn page(&self, state: u64) -> Result<String, String> {
        let options = Options { key: None, glance: true };
        let report = read(std::slice::from_ref(&self.run), &options);
        let page = report.and_then(|report| report.page(Refresh::Every(self.every, state)));
        page.map_err(|error| error.to_string())
    }
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    // A folder that is none is told at once, and not by the page.
    read(std::slice::from_ref(&arguments.run), &Options { key: None, glance: true })?;
    let stop = signal::stop_flag(true);
    let mut printed = Ok(());
    let ready = |address: SocketAddr| {
        let address = Address { url: format!("http://{address}/") };
        printed = print(arguments.json, &address, |_| [&address.url].into_iter().collect());
    };
    let folder = Folder { run: arguments.run.clone(), every: arguments.every };
    watch(arguments.port, folder, &stop, ready)?;
    printed?;
    Ok(Ending::Interrupted)
}
