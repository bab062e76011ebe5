//! Files + environment → checked resources and settings, with the place of every value. The only module that reads
//! files and the environment.
//!
//! [`yaml`] and [`json_file`] read text into nodes, [`secrets`] resolves `${env:…}` and `${file:…}`, [`resources`]
//! turns nodes into checked resources, [`settings`] merges the process settings, [`watch`] tells when files change.

pub mod env;
pub mod files;
pub mod host;
mod inline;
pub mod json_file;
pub mod resources;
pub mod secrets;
pub mod settings;
pub mod watch;
pub mod yaml;

pub use env::Env;
pub use files::line_of;
pub use inline::written;
pub use resources::{Alone, Context, Loaded, Read, load, read, read_alone, schema};
