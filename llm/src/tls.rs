//! The certificate that lets clients reach providers' names inside the container.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// Why no certificate can be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A name or time does not fit into a certificate.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// The TLS library refuses it.
    #[error("cannot use the certificate")]
    Rustls(#[from] rustls::Error),
}

/// One attempt's certificate for all names, and the authority that agents are told to trust.
///
/// The authority's key is gone before this value exists: it has signed one certificate, and can
/// sign no other. Its name constraints hold even if a copy of it is trusted elsewhere.
#[derive(Clone, Debug)]
pub struct AttemptTls {
    ca_pem: String,
    hosts: Arc<BTreeSet<String>>,
    pub(crate) http1: Arc<ServerConfig>,
    /// For clients that speak nothing but HTTP/2, to be told so in their own words.
    pub(crate) http2: Arc<ServerConfig>,
}

impl AttemptTls {
    /// Makes a certificate for `hosts`, valid from a day ago until two days after `until`.
    ///
    /// # Errors
    /// A name is none.
    pub fn mint(
        attempt: &str,
        hosts: impl IntoIterator<Item = String>,
        until: DateTime<Utc>,
    ) -> Result<Self, TlsError> {
        let hosts: BTreeSet<String> = hosts.into_iter().collect();
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
        let (ca_pem, certificate) = {
            let ca_key = KeyPair::generate()?;
            let ca = authority.self_signed(&ca_key)?;
            let issuer = Issuer::new(authority, ca_key);
            (ca.pem(), leaf.signed_by(&leaf_key, &issuer)?)
        };
        let config = |protocol: &[u8]| -> Result<Arc<ServerConfig>, TlsError> {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
            let mut config = ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()?
                .with_no_client_auth()
                .with_single_cert(vec![certificate.der().clone()], key)?;
            config.alpn_protocols = vec![protocol.to_vec()];
            Ok(Arc::new(config))
        };
        let (http1, http2) = (config(b"http/1.1")?, config(b"h2")?);
        Ok(Self { ca_pem, hosts: Arc::new(hosts), http1, http2 })
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
