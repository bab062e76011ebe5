//! Others' programs, with the configurations of `benches/peers`. A program is looked for on the path, or where its
//! environment variable says.

use crate::contestants::{Job, Order, said};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../peers");

/// A peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Vector,
    /// Or Redpanda Connect, whose configuration is the same.
    Bento,
    ParallelConsumer,
}

impl Peer {
    pub(crate) const ALL: [Self; 3] = [Self::ParallelConsumer, Self::Bento, Self::Vector];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Vector => "vector",
            Self::Bento => "bento",
            Self::ParallelConsumer => "parallel-consumer",
        }
    }

    /// Its program, if it is here.
    pub(crate) fn find(self) -> Option<PathBuf> {
        match self {
            Self::Vector => on_path("VECTOR", &["vector"]),
            Self::Bento => on_path("BENTO", &["bento", "redpanda-connect"]),
            // Built by scripts/bench.sh if there are Java and Maven.
            Self::ParallelConsumer => on_path("PARALLEL_CONSUMER", &[]),
        }
    }

    pub(crate) fn version(self, program: &Path) -> String {
        match self {
            Self::Vector | Self::Bento => said(Command::new(program).arg("--version")),
            Self::ParallelConsumer => "0.5.3.3, Vert.x 4.5.7".to_owned(),
        }
    }

    /// The command for a job; nothing if it is none that was written for it.
    pub(crate) fn command(self, program: &Path, job: &Job, folder: &Path) -> Option<Command> {
        if job.order != Order::None || job.tls || job.fan_out > 1 || job.rules > 1 || job.destinations > 1 || job.mock {
            return None;
        }
        let (sample, mut command) = match self {
            Self::Vector => ("vector/vector.yaml", Command::new(program)),
            Self::Bento => ("bento/bento.yaml", Command::new(program)),
            Self::ParallelConsumer => {
                let mut command = Command::new("java");
                let folder = program.display();
                command.args(["-Xmx512m", "-cp", &format!("{folder}:{folder}/*"), "Bench"]);
                command.args([&job.brokers, &job.topic, &job.group, &job.port.to_string()]);
                return Some(command);
            }
        };
        let text = fs::read_to_string(Path::new(FOLDER).join(sample)).expect("a configuration");
        let text = text
            .replace("BROKERS", &job.brokers)
            .replace("TOPIC", &job.topic)
            .replace("GROUP", &job.group)
            .replace("PORT", &job.port.to_string())
            .replace("FOLDER", &folder.display().to_string());
        let file = folder.join(sample.rsplit('/').next().unwrap_or(sample));
        fs::write(&file, text).expect("a configuration");
        match self {
            Self::Vector => command.arg("--config").arg(file),
            Self::Bento | Self::ParallelConsumer => command.args(["run"]).arg(file),
        };
        Some(command)
    }
}

fn on_path(variable: &str, names: &[&str]) -> Option<PathBuf> {
    if let Some(given) = std::env::var_os(variable) {
        return Some(PathBuf::from(given)).filter(|path| path.exists());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)))
        .find(|path| path.is_file())
}
