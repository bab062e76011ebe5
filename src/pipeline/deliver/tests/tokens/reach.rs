//! How the token endpoint is reached: network policy, proxy, authority.

use super::*;
use crate::model::resources::{Proxy, Resolve, Via};

#[test]
fn the_token_endpoint_obeys_the_network_policy_at_the_address_dialled() {
    local(async {
        let server = Server::start(|_| Act::Say(grant(1, "60"))).await;
        for host in ["127.0.0.1", "localhost", "::ffff:127.0.0.1"] {
            let mut setup = setup(server.address.port());
            setup.connection.auth = Auth::OAuth2(Box::new(oauth2(host, server.address.port())));
            setup.connection.allow_networks.clear();
            let destination = setup.build();
            let error = destination.connection().exchange().unwrap().fetch().await.unwrap_err();
            assert_eq!(error.code(), "AUTH_TOKEN_UNREACHABLE");
            assert!(error.to_string().contains("add it to `allow_networks` of connection `api`"), "{host}: {error}");
        }
        // A proxy that looks names up has none to look up.
        let mut proxied = setup(server.address.port());
        proxied.connection.auth = Auth::OAuth2(Box::new(oauth2("10.0.0.1", 80)));
        proxied.connection.allow_networks.clear();
        let url =
            BaseUrl { tls: false, host: "localhost".to_owned(), port: server.address.port(), path: String::new() };
        proxied.connection.proxy = Some(Proxy { via: Via::Url(url), credentials: None, resolve: Resolve::Proxy });
        let error = proxied.build().connection().exchange().unwrap().fetch().await.unwrap_err();
        assert!(error.to_string().contains("`10.0.0.1` is"), "{error}");
        let mut setup = setup(server.address.port());
        setup.connection.auth = Auth::OAuth2(Box::new(oauth2("no-such-host.invalid", 80)));
        let error = setup.build().connection().exchange().unwrap().fetch().await.unwrap_err();
        assert!(error.to_string().contains("no such host `no-such-host.invalid`"), "{error}");
        assert_eq!(server.connections.get(), 0);
    });
}

#[test]
fn a_proxy_is_used_only_where_the_connection_names_one() {
    local(async {
        let server = Server::start(|seen| Act::Say(grant(seen.number, "60"))).await;
        let proxied = |resolve, except: &[&str], via_environment: bool| {
            let url =
                BaseUrl { tls: false, host: "localhost".to_owned(), port: server.address.port(), path: String::new() };
            let except = except.iter().map(|name| (*name).to_owned()).collect();
            let via = match via_environment {
                true => Via::Environment { https: None, http: Some(url), except },
                false => Via::Url(url),
            };
            let mut setup = setup(1);
            setup.connection.auth = Auth::OAuth2(Box::new(oauth2("login.invalid", 80)));
            let credentials = Some((Text::Plain("u".to_owned()), hidden("p")));
            setup.connection.proxy = Some(Proxy { via, credentials, resolve });
            setup.build()
        };
        let fetch = async |destination: Arc<Destination>| {
            let exchange = Arc::clone(destination.connection().exchange().unwrap());
            exchange.fetch().await.map(drop).map_err(|error| error.to_string())
        };
        fetch(proxied(Resolve::Proxy, &[], false)).await.unwrap();
        fetch(proxied(Resolve::Proxy, &["other.invalid"], true)).await.unwrap();
        let head = server.heads().remove(0);
        assert!(head.starts_with("POST http://login.invalid/token HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("proxy-authorization: Basic dTpw\r\n"), "{head}");
        // Whose name we look up ourselves, and who is to be dialled directly, does not get there.
        for direct in [proxied(Resolve::Local, &[], false), proxied(Resolve::Proxy, &["invalid"], true)] {
            assert!(fetch(direct).await.unwrap_err().contains("no such host `login.invalid`"));
        }
        assert_eq!(server.connections.get(), 2);
    });
}

#[test]
fn the_token_endpoint_is_trusted_by_the_connections_own_authority() {
    local(async {
        let tls = Some(tls::server_config(true));
        let server = Server::start_tls(|_| Act::Say(grant(1, "60")), tls).await;
        let with = |client: bool| {
            let mut setup = setup(server.address.port());
            let mut oauth2 = oauth2("localhost", server.address.port());
            oauth2.endpoint.base.tls = true;
            setup.connection.auth = Auth::OAuth2(Box::new(oauth2));
            setup.connection.ca_pem = Some(tls::CA.to_vec());
            setup.connection.client_pem = client.then(|| (tls::CLIENT.0.to_vec(), SecretString::from(tls::CLIENT.1)));
            setup.connection.allow_networks.push(Network { address: "::1".parse().unwrap(), bits: 128 });
            setup.build()
        };
        with(true).connection().exchange().unwrap().fetch().await.unwrap();
        let error = with(false).connection().exchange().unwrap().fetch().await.unwrap_err();
        assert_eq!(error.code(), "AUTH_TOKEN_UNREACHABLE", "{error}");
    });
}
