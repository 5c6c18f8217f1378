//! The certificate that lets clients reach providers' names inside the container.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Datelike, TimeDelta, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

/// Why no certificate can be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A name or time does not fit into a certificate.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// The TLS library refuses it.
    #[error("cannot use the certificate")]
    Rustls(#[from] rustls::Error),
    /// It cannot be kept for a harness that goes on with the attempt.
    #[error("cannot keep the certificate")]
    Store(#[source] io::Error),
}

/// Where a certificate is while its attempt runs: its clients trust this one and no other, also
/// when another harness goes on with it.
const STORED: &str = "tls.json";

#[derive(Serialize, Deserialize)]
struct Stored {
    hosts: BTreeSet<String>,
    ca: String,
    leaf: String,
    key: String,
}

/// One attempt's certificate for all names, and the authority that agents are told to trust.
///
/// The authority's key is gone before this value exists: it has signed one certificate, and can
/// sign no other. Its name constraints hold even if a copy of it is trusted elsewhere. The
/// certificate's own key is on disk, for this user alone, as long as the attempt runs.
#[derive(Clone, Debug)]
pub struct AttemptTls {
    ca_pem: String,
    hosts: Arc<BTreeSet<String>>,
    pub(crate) http1: Arc<ServerConfig>,
    /// For clients that speak nothing but HTTP/2, to be told so in their own words.
    pub(crate) http2: Arc<ServerConfig>,
}

impl AttemptTls {
    /// The certificate of an attempt: the one that is in its folder for the same names, or a new
    /// one, which is put there; valid from a day ago until two days after `until`.
    pub(crate) fn of_attempt(
        dir: &Path,
        attempt: &str,
        hosts: impl IntoIterator<Item = String>,
        until: DateTime<Utc>,
    ) -> Result<Self, TlsError> {
        let hosts: BTreeSet<String> = hosts.into_iter().collect();
        let path = dir.join(STORED);
        let known = std::fs::read(&path).ok();
        let known = known.and_then(|bytes| serde_json::from_slice::<Stored>(&bytes).ok());
        if let Some(known) = known.filter(|known| known.hosts == hosts) {
            return Self::of(known);
        }
        let made = Self::make(attempt, hosts, until)?;
        let text = serde_json::to_vec(&made).map_err(|error| TlsError::Store(error.into()))?;
        let store = || {
            std::fs::create_dir_all(dir)?;
            let mut options = File::options();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&path)?;
            file.write_all(&text)
        };
        store().map_err(TlsError::Store)?;
        Self::of(made)
    }

    /// Removes the certificate of an attempt that is over.
    pub(crate) fn forget(dir: &Path) -> io::Result<()> {
        match std::fs::remove_file(dir.join(STORED)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn make(
        attempt: &str,
        hosts: BTreeSet<String>,
        until: DateTime<Utc>,
    ) -> Result<Stored, TlsError> {
        let day = |at: DateTime<Utc>| date_time_ymd(at.year(), at.month() as u8, at.day() as u8);
        let (from, until) = (day(Utc::now() - TimeDelta::days(1)), day(until + TimeDelta::days(3)));

        let mut authority = CertificateParams::new(Vec::<String>::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        // Two authorities of one name in one store confuse GnuTLS.
        authority
            .distinguished_name
            .push(DnType::CommonName, format!("medalist attempt {attempt}"));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let permitted = hosts.iter().map(|host| GeneralSubtree::DnsName(host.clone())).collect();
        authority.name_constraints =
            Some(NameConstraints { permitted_subtrees: permitted, excluded_subtrees: vec![] });
        (authority.not_before, authority.not_after) = (from, until);

        let mut leaf = CertificateParams::new(hosts.iter().cloned().collect::<Vec<_>>())?;
        leaf.distinguished_name.push(DnType::CommonName, "medalist gateway");
        leaf.is_ca = IsCa::ExplicitNoCa;
        // Python 3.13 demands what names the authority's key.
        leaf.use_authority_key_identifier_extension = true;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        (leaf.not_before, leaf.not_after) = (from, until);

        let leaf_key = KeyPair::generate()?;
        let ca_key = KeyPair::generate()?;
        let ca = authority.self_signed(&ca_key)?;
        let leaf = leaf.signed_by(&leaf_key, &Issuer::new(authority, ca_key))?;
        Ok(Stored {
            hosts,
            ca: ca.pem(),
            leaf: BASE64_STANDARD.encode(leaf.der()),
            key: BASE64_STANDARD.encode(leaf_key.serialize_der()),
        })
    }

    fn of(stored: Stored) -> Result<Self, TlsError> {
        let bytes = |text: &str| {
            BASE64_STANDARD.decode(text).map_err(|error| TlsError::Store(io::Error::other(error)))
        };
        let (leaf, key) = (CertificateDer::from(bytes(&stored.leaf)?), bytes(&stored.key)?);
        let config = |protocol: &[u8]| -> Result<Arc<ServerConfig>, TlsError> {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.clone()));
            let mut config = ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()?
                .with_no_client_auth()
                .with_single_cert(vec![leaf.clone()], key)?;
            config.alpn_protocols = vec![protocol.to_vec()];
            Ok(Arc::new(config))
        };
        let (http1, http2) = (config(b"http/1.1")?, config(b"h2")?);
        Ok(Self { ca_pem: stored.ca, hosts: Arc::new(stored.hosts), http1, http2 })
    }

    /// The authority's certificate, which the container's clients must trust.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The names that the certificate is for.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(String::as_str)
    }

    pub(crate) fn serves(&self, host: &str) -> bool {
        self.hosts.contains(host)
    }
}
