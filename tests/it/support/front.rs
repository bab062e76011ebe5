//! TLS in front of the scripted API, with certificates that can be changed while it runs.

use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// TLS in front of the scripted API. Ends when dropped.
pub(crate) struct Front {
    port: u16,
    now: watch::Sender<Arc<ServerConfig>>,
    _runtime: Runtime,
}

impl Front {
    /// Takes what comes with this configuration to `to`.
    pub(crate) fn start(to: SocketAddr, config: Arc<ServerConfig>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (now, configs) = watch::channel(config);
        runtime.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    Ok((tcp, _)) = listener.accept() => drop(connections.spawn(serve(tcp, to, configs.clone()))),
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Self { port, now, _runtime: runtime }
    }

    /// Goes on with another configuration.
    pub(crate) fn become_server(&self, config: Arc<ServerConfig>) {
        self.now.send_replace(config);
    }

    /// Where it listens on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

async fn serve(tcp: TcpStream, to: SocketAddr, mut configs: watch::Receiver<Arc<ServerConfig>>) {
    let config = Arc::clone(&configs.borrow_and_update());
    let serve = async {
        let Ok(mut near) = TlsAcceptor::from(config).accept(tcp).await else { return };
        let Ok(mut far) = TcpStream::connect(to).await else { return };
        let _gone = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    };
    // A new certificate begins with new connections: the old ones end.
    tokio::select! {
        () = serve => {}
        _ = configs.changed() => {}
    }
}
