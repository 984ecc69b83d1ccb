//! `masthead-push-server`: sends channels to the networks beside it while somebody there watches.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use link::key_file;
use link::logging::{self, LogFormat};
use link::shutdown::Shutdown;
use protocols::ids::HostId;
use push_server::shell::{self, CONTROL_PORT, FEED_PORT, MAX_DATA_THREADS};

/// Takes channels from acquisition servers and sends each to its networks only while somebody there watches.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// This host's id in the topology, such as `hall`.
    #[arg(long, env = "MASTHEAD_ID")]
    id: HostId,
    /// The database server, for the log: whoever holds the cluster key is obeyed, wherever it calls from.
    #[arg(long, env = "MASTHEAD_DATABASE")]
    database: Option<String>,
    /// Address to listen on for P3 and P4; `::` is every address of both families.
    #[arg(long, env = "MASTHEAD_LISTEN", default_value_t = IpAddr::V6(Ipv6Addr::UNSPECIFIED))]
    listen: IpAddr,
    /// TCP port for feeds of acquisition servers (P3).
    #[arg(long, env = "MASTHEAD_FEED_PORT", default_value_t = FEED_PORT)]
    feed_port: u16,
    /// UDP port for the database server and clients (P4).
    #[arg(long, env = "MASTHEAD_CONTROL_PORT", default_value_t = CONTROL_PORT)]
    control_port: u16,
    /// The site's cluster key, a copy of the database server's.
    #[arg(long, env = "MASTHEAD_CLUSTER_KEY", default_value = key_file::FILE_NAME)]
    cluster_key: PathBuf,
    /// Threads that carry packets; channels are spread over them by load. Unless set, one for each processor.
    #[arg(long, env = "MASTHEAD_DATA_THREADS",
        value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_DATA_THREADS)))]
    data_threads: Option<u16>,
    /// Format of the log: text or json.
    #[arg(long, env = "MASTHEAD_FORMAT", default_value = "text")]
    format: LogFormat,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    logging::start(arguments.format, "info");
    let key = match key_file::load(&arguments.cluster_key) {
        Ok(key) => key,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::from(2);
        }
    };
    let options = shell::Options {
        host: arguments.id,
        database: arguments.database,
        listen: arguments.listen,
        feed_port: arguments.feed_port,
        control_port: arguments.control_port,
        key,
        data_threads: arguments.data_threads.unwrap_or_else(shell::processors),
    };
    let ended = Shutdown::on_signals().map_err(shell::Error::from).and_then(|shutdown| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(shell::run(options, shutdown))
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
