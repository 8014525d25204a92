use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use host_data::Progress as _;
use host_files::{Page, own, private};
use host_serve::{Options, Served, Summary, serve};
use host_trainer::Error;
use host_trainer::records::Ending;
use serde::Serialize;

use crate::commands::adapter::AdapterFlags;
use crate::commands::vector::VectorFlags;
use crate::flags::{ConfigFlags, with_defaults};
use crate::out::{print, say};
use crate::screen::Screen;
use crate::signal;

/// Answer requests of an OpenAI-compatible API with a model and, if given, an adapter.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub config: ConfigFlags,
    #[command(flatten)]
    pub adapter: AdapterFlags,
    #[command(flatten)]
    pub vector: VectorFlags,
    /// Address to listen on. Any but this machine's own (127.0.0.1, ::1) needs a key.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub address: IpAddr,
    /// Port to listen on; 0 takes one that is free.
    #[arg(long, value_name = "PORT", default_value_t = 8000)]
    pub port: u16,
    /// File whose first line is the key that clients send as `Authorization: Bearer KEY`; only its
    /// owner may read it.
    #[arg(long, value_name = "FILE", conflicts_with = "key_variable")]
    pub key_file: Option<PathBuf>,
    /// Environment variable that holds the key.
    #[arg(long, value_name = "NAME")]
    pub key_variable: Option<String>,
    /// Name that requests give the model. Default: that of the model's folder, file or Hub id.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Longest answer where the request doesn't say, in tokens.
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = positive)]
    pub max_new_tokens: usize,
    /// Answers that may wait; eval.batch are generated together. Beyond that a request is told to
    /// come again (429).
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = positive)]
    pub queue: usize,
    /// Connections at the same time; more of them wait.
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = positive)]
    pub connections: usize,
    /// Longest request, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 20, value_parser = positive)]
    pub max_body: usize,
    /// Longest time for an answer, waiting included, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(number) if number <= MOST => Ok(number),
        Ok(_) => Err(format!("must be at most {MOST}")),
        Err(_) => Err(format!("{text:?} is no whole number")),
    }
}

/// Of places, and of bytes.
const MOST: usize = 1 << 30;
/// Bytes of a file with a key.
const KEY_FILE: u64 = 1 << 13;

/// Where the model is.
#[derive(Serialize)]
struct Address {
    url: String,
    model: String,
    /// Tokens that the model takes.
    context: usize,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let config = with_defaults(arguments.config.layers(arguments.adapter.run.as_deref())?)?;
    let mut options = Options {
        address: arguments.address,
        port: arguments.port,
        name: arguments.name.clone().unwrap_or_default(),
        key: key(arguments)?,
        batch: config.eval.batch,
        queue: arguments.queue,
        connections: arguments.connections,
        body: arguments.max_body,
        time: Duration::from_secs(arguments.timeout),
        answer: arguments.max_new_tokens,
        thinking: config.eval.max_thinking_tokens,
        seed: config.seed.0,
    };
    // A model takes a while to load, and the port may be taken.
    let listener = options.listen()?;
    let stop = signal::stop_flag(true);
    let mut screen = Screen::new(arguments.config.quiet);
    let model = host_data::load_model(&config.model, &mut screen)?;
    let adapter = arguments.adapter.load(&model, &mut screen)?;
    let steering = arguments.vector.load(&model)?;
    if options.name.is_empty() {
        options.name.clone_from(&model.name);
    }
    if !model.decoder.rows_stand_alone() {
        screen.notice(
            "on this device rounding depends on which answers are generated together, so an answer may \
             differ from the one that a prompt gets alone",
        );
    }
    if !options.address.is_loopback() {
        screen.notice("the key and all that is said go over the network as they are; put a proxy with TLS before it");
    }
    drop(screen);
    let (name, context) = (options.name.clone(), model.config.max_position);
    let mut printed = Ok(());
    let ready = |address: SocketAddr| {
        let address = Address { url: format!("http://{address}/v1"), model: name, context };
        printed = print(arguments.config.json, &address, |_| page(&address));
    };
    let quiet = arguments.config.quiet;
    let tell = move |line: &str| {
        if !quiet {
            say(format!("note: {line}"));
        }
    };
    let served = Served { model, adapter, steering };
    let summary = serve(served, &options, listener, &stop, Box::new(tell), ready)?;
    printed?;
    if !quiet {
        say(told(&summary));
    }
    Ok(Ending::Interrupted)
}

fn page(address: &Address) -> Page {
    let mut page = Page::default();
    page.line(&address.url);
    page
}

/// The key, from where the arguments say it is.
fn key(arguments: &Arguments) -> Result<Option<String>, Error> {
    if let Some(name) = &arguments.key_variable {
        let key = std::env::var(name).ok().filter(|key| !key.is_empty());
        return key.map(Some).ok_or_else(|| {
            // What has small letters may be the key itself.
            let is_name = !name.contains(|c: char| c.is_ascii_lowercase());
            let shown = if is_name { name } else { "of that name" };
            let problem = format!("the environment has no variable {shown}; set it to the key");
            Error::config("--key-variable", problem)
        });
    }
    arguments.key_file.as_deref().map(key_in).transpose()
}

fn key_in(path: &Path) -> Result<String, Error> {
    let problem = |error: std::io::Error| {
        let lacks = error.kind() == std::io::ErrorKind::NotFound;
        let advice = if lacks { "; make a file whose first line is the key" } else { "" };
        Error::file(path, format!("{error}{advice}"))
    };
    private::secret(path).map_err(problem)?;
    let text = own::read_text(path, KEY_FILE).map_err(problem)?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// What has become of the requests, in one line.
fn told(summary: &Summary) -> String {
    let counts = &summary.counts;
    let mut line = format!(
        "answered {} requests ({} prompt tokens, {} generated)",
        counts.answered, counts.tokens.0, counts.tokens.1
    );
    for (status, count) in &counts.failed {
        line.push_str(&format!(", {count} with status {status}"));
    }
    for (name, count) in &counts.ignored {
        line.push_str(&format!("; `{name}` wasn't read in {count}"));
    }
    if !summary.finished {
        line.push_str("; answers that took longer than --timeout were cut off");
    }
    line
}
