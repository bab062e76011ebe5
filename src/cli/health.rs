//! `tidegate health`: asks the replica beside it whether work can flow, for images that have no other client.

use super::{Exit, Failure, Global, setup};
use crate::config::Env;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// How long each step may take; Docker gives the whole three seconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// Succeeds if `/readyz` answers 200.
///
/// # Errors
/// It does not, nobody answers, or `admin.listen` is off.
pub fn health(global: &Global) -> Result<(), Failure> {
    let settings = setup::settings(global, &Env::process())?;
    let off = || Failure::new(Exit::Configuration, "ADMIN_OFF", "`admin.listen` is empty: nobody can be asked");
    let listen = settings.admin_listen.ok_or_else(off)?;
    // What listens everywhere listens here too.
    let ip = if listen.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { listen.ip() };
    let address = SocketAddr::new(ip, listen.port());
    let (status, body) = ask(address).map_err(|error| {
        Failure::new(Exit::Unreachable, "ADMIN_UNREACHABLE", format!("{address}: {error}; is a replica running there?"))
    })?;
    if status == "200" { Ok(()) } else { Err(Failure::new(Exit::No, "NOT_READY", body.trim())) }
}

/// The status and body of `/readyz`.
fn ask(address: SocketAddr) -> std::io::Result<(String, String)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET /readyz HTTP/1.0\r\nhost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    Ok((head.split(' ').nth(1).unwrap_or_default().to_owned(), body.to_owned()))
}
