//! `server`: addresses, the admin key, TLS.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use gateway_core::secret::Secret;
use ipnet::IpNet;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{Checker, count, is_visible_ascii, secret};
use crate::config::raw;
use crate::config::runtime::{Server, Tls};

const ADMIN_KEY_LENGTH: usize = 16;
/// What people leave in example files. Compared in lower case, without punctuation.
const WELL_KNOWN_KEYS: &[&str] =
    &["changeme", "change", "password", "secretkey", "adminkey", "masterkey", "yourkey", "replaceme", "qwerty"];

impl Checker<'_, '_> {
    pub(super) fn server(&mut self, server: &raw::Server) -> Server {
        let host = match server.host.as_str() {
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            host => host.parse().unwrap_or_else(|_| {
                self.problem(
                    &["server", "host"],
                    &format!("{host:?} is not an IP address"),
                    "write an address of this machine: 127.0.0.1 or localhost for itself alone, 0.0.0.0 for everyone",
                );
                IpAddr::V4(Ipv4Addr::LOCALHOST)
            }),
        };
        let admin_addr = server.admin_addr.as_deref().and_then(|addr| self.admin_addr(addr, host, server.port));
        if server.memory_limit_mib.is_some_and(|memory| memory * 3 / 4 < 2 * server.body_limit_mib) {
            self.warn(
                &["server", "memory_limit_mib"],
                "is too little for a body of server.body_limit_mib, which counts twice against three quarters of it",
            );
        }
        if let Some(key) = &server.admin_key {
            self.admin_key(&key.0);
        }
        for (index, host) in server.admin_hosts.iter().enumerate() {
            if host.is_empty() || host.contains(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '.') {
                let path = ["server", "admin_hosts", &index.to_string()];
                self.problem(&path, &format!("{host:?} is not the name of a host"), "write it without scheme and port");
            }
        }
        Server {
            host,
            port: server.port,
            reuse_port: server.reuse_port,
            tls: server.tls.as_ref().and_then(|tls| self.tls(tls)),
            trusted_proxies: self.trusted_proxies(&server.trusted_proxies),
            body_limit_bytes: usize::try_from(server.body_limit_mib * 1024 * 1024).unwrap_or(usize::MAX),
            max_concurrent_requests: count(server.max_concurrent_requests),
            max_connections: server.max_connections.map(count),
            memory_limit_bytes: server.memory_limit_mib.map(|mib| mib * 1024 * 1024),
            drain_timeout: Duration::from_secs_f64(server.drain_timeout_seconds),
            allow_anonymous: server.allow_anonymous,
            admin_key: secret(&server.admin_key),
            admin_addr,
            admin_hosts: server.admin_hosts.clone(),
        }
    }

    fn admin_addr(&mut self, addr: &str, host: IpAddr, port: u16) -> Option<SocketAddr> {
        let path = ["server", "admin_addr"];
        let Ok(parsed) = addr.replacen("localhost:", "127.0.0.1:", 1).parse::<SocketAddr>() else {
            let message = format!("{addr:?} is not an address with a port");
            self.problem(&path, &message, "write it as 127.0.0.1:9000");
            return None;
        };
        if parsed.port() == port
            && port != 0
            && (parsed.ip() == host || host.is_unspecified() || parsed.ip().is_unspecified())
        {
            self.problem(&path, "is where the gateway itself listens", "give it a port of its own");
        }
        Some(parsed)
    }

    fn admin_key(&mut self, key: &Secret) {
        let path = ["server", "admin_key"];
        let hint = "make one with `openssl rand -hex 32`";
        let key = key.expose();
        let folded: String = key.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
        // A key that counts, up or down or on the spot, is long but not secret.
        let counts = |pair: &&[u8]| pair[0].abs_diff(pair[1]) <= 1 || pair == b"90";
        let surprises = folded.as_bytes().windows(2).filter(|pair| !counts(pair)).count();
        if !is_visible_ascii(key) {
            self.problem(&path, "has blanks or characters that a header cannot carry", hint);
        } else if key.len() < ADMIN_KEY_LENGTH {
            self.problem(&path, &format!("is weak: it has fewer than {ADMIN_KEY_LENGTH} characters"), hint);
        } else if surprises < ADMIN_KEY_LENGTH / 2 || WELL_KNOWN_KEYS.iter().any(|known| folded.contains(known)) {
            self.problem(&path, "is weak: it is easy to guess", hint);
        }
    }

    fn trusted_proxies(&mut self, said: &[String]) -> Vec<IpNet> {
        let mut proxies = Vec::new();
        for (index, text) in said.iter().enumerate() {
            let index = index.to_string();
            let path = ["server", "trusted_proxies", index.as_str()];
            match text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
                Ok(net) => {
                    if net.prefix_len() == 0 {
                        self.warn(&path, "every client is believed whatever address it claims");
                    }
                    proxies.push(net);
                }
                Err(_) => {
                    let message = format!("{text:?} is neither a network nor an address");
                    self.problem(&path, &message, "write it as 10.0.0.0/8 or 10.1.2.3");
                }
            }
        }
        proxies
    }

    fn tls(&mut self, tls: &raw::Tls) -> Option<Tls> {
        let in_folder = |path: &str| self.situation.folder.unwrap_or(Path::new("")).join(path);
        let (cert_file, key_file) = (in_folder(&tls.cert), in_folder(&tls.key));
        let chain = self.pem(&["server", "tls", "cert"], &cert_file, "a PEM file with certificates", |bytes| {
            let chain: Vec<_> = CertificateDer::pem_slice_iter(bytes).collect::<Result<_, _>>().ok()?;
            Some(chain).filter(|chain| !chain.is_empty())
        });
        let key = self.pem(&["server", "tls", "key"], &key_file, "a PEM file with a private key", |bytes| {
            PrivateKeyDer::from_pem_slice(bytes).ok()
        });
        if self.situation.environment.is_world_readable(&key_file) {
            self.warn(&["server", "tls", "key"], "every user of this machine can read the private key; `chmod 600` it");
        }
        let (chain, key) = (chain?, key?);
        let mut digest = DefaultHasher::new();
        (&chain, key.secret_der()).hash(&mut digest);
        let builder = rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into());
        let builder = builder.with_safe_default_protocol_versions().ok()?.with_no_client_auth();
        match builder.with_single_cert(chain, key) {
            Ok(config) => Some(Tls { config, digest: digest.finish() }),
            Err(error) => {
                let message = format!("certificate and key do not fit: {error}");
                self.problem(&["server", "tls"], &message, "give the key that the certificate was made for");
                None
            }
        }
    }

    fn pem<T>(&mut self, path: &[&str], file: &Path, what: &str, parse: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        let parsed = match self.situation.environment.read(file) {
            Ok(bytes) => parse(&bytes),
            Err(error) => {
                let message = format!("{} cannot be read: {error}", file.display());
                self.problem(path, &message, "relative paths start at the folder of the configuration file");
                return None;
            }
        };
        if parsed.is_none() {
            self.problem(path, &format!("{} is not {what}", file.display()), "PEM begins with -----BEGIN");
        }
        parsed
    }
}
