//! Signatures over files, as `ssh-keygen -Y sign` makes and `ssh-keygen -Y verify` checks them, with
//! Ed25519 keys of OpenSSH.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use ssh_key::private::{Ed25519Keypair, Ed25519PrivateKey, KeypairData};
use ssh_key::public::{Ed25519PublicKey, KeyData};
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey, PublicKey, Signature, SshSig};

use super::files::StoreError;

/// What signatures are made for, so that none made for another purpose passes.
pub const NAMESPACE: &str = "medalist";

/// A key or a signature is not to be used.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] StoreError),
    /// The file holds no key that can be used.
    #[error("`{path}` is no Ed25519 key of OpenSSH without a passphrase: {why}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        why: String,
    },
    /// A line of a list of signers is none.
    #[error("line {line} of `{path}` names no key: {why}")]
    Signers {
        /// The list.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What was expected.
        why: String,
    },
    /// The system has no random numbers, or a key cannot be encoded.
    #[error("cannot make a key: {0}")]
    Make(String),
    /// The signature fits neither its key nor the text.
    #[error("{0}")]
    Signature(String),
}

/// A private key.
pub struct Signer {
    pair: Ed25519KeyPair,
    public: Ed25519PublicKey,
}

impl Signer {
    /// Makes a key and writes it to `path`, which must not exist, and its public half to `path.pub`;
    /// gives the line of the latter.
    ///
    /// # Errors
    /// [`SignError`] if a file is there or cannot be written.
    pub fn generate(path: &Path, comment: &str) -> Result<String, SignError> {
        let mut seed = [0; 32];
        let make = |what: &dyn std::fmt::Display| SignError::Make(what.to_string());
        SystemRandom::new().fill(&mut seed).map_err(|_| make(&"no random numbers"))?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|error| make(&error))?;
        let public = public_of(&pair);
        let pair = Ed25519Keypair { public, private: Ed25519PrivateKey::from_bytes(&seed) };
        let key = PrivateKey::new(KeypairData::Ed25519(pair), comment).map_err(|e| make(&e))?;
        let text = key.to_openssh(LineEnding::LF).map_err(|error| make(&error))?;
        let line = key.public_key().to_openssh().map_err(|error| make(&error))?;
        create(path, text.as_bytes(), 0o600)?;
        create(&public_path(path), format!("{line}\n").as_bytes(), 0o644)?;
        Ok(line)
    }

    /// Reads a private key.
    ///
    /// # Errors
    /// [`SignError::Key`] if it is of another kind or has a passphrase.
    pub fn read(path: &Path) -> Result<Self, SignError> {
        let text = std::fs::read(path).map_err(StoreError::io("read", path))?;
        let wrong = |why: &dyn std::fmt::Display| SignError::Key {
            path: path.to_owned(),
            why: why.to_string(),
        };
        let key = PrivateKey::from_openssh(text).map_err(|error| wrong(&error))?;
        if key.is_encrypted() {
            return Err(wrong(&"it has a passphrase"));
        }
        let KeypairData::Ed25519(pair) = key.key_data() else {
            return Err(wrong(&format_args!("it is of the kind `{}`", key.algorithm())));
        };
        let seed = pair.private.to_bytes();
        let pair = Ed25519KeyPair::from_seed_and_public_key(&seed, &pair.public.0)
            .map_err(|error| wrong(&error))?;
        let public = public_of(&pair);
        Ok(Self { pair, public })
    }

    /// The signature of a text, as `ssh-keygen -Y sign -n medalist` writes it.
    ///
    /// # Errors
    /// [`SignError::Signature`] if it cannot be encoded.
    pub fn sign(&self, text: &[u8]) -> Result<String, SignError> {
        let wrong = |error: ssh_key::Error| SignError::Signature(error.to_string());
        let data = SshSig::signed_data(NAMESPACE, HashAlg::Sha512, text).map_err(wrong)?;
        let bytes = self.pair.sign(&data).as_ref().to_vec();
        let signature = Signature::new(Algorithm::Ed25519, bytes).map_err(wrong)?;
        let key = KeyData::Ed25519(self.public);
        SshSig::new(key, NAMESPACE, HashAlg::Sha512, signature)
            .and_then(|signature| signature.to_pem(LineEnding::LF))
            .map_err(wrong)
    }
}

fn public_of(pair: &Ed25519KeyPair) -> Ed25519PublicKey {
    let mut public = [0; 32];
    public.copy_from_slice(pair.public_key().as_ref());
    Ed25519PublicKey(public)
}

/// Where the public half of a key is.
pub fn public_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<(), SignError> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    let written = options.open(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    Ok(written.map_err(StoreError::io("write", path))?)
}

/// The key that signed something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedBy {
    key: Ed25519PublicKey,
    /// Its fingerprint as `ssh-keygen -l` prints it: `SHA256:…`.
    pub fingerprint: String,
}

/// Checks a signature over a text.
///
/// # Errors
/// [`SignError::Signature`] says what is wrong with it.
pub fn verify(text: &[u8], signature: &[u8]) -> Result<SignedBy, SignError> {
    let wrong = |why: String| SignError::Signature(why);
    let signature = SshSig::from_pem(signature)
        .map_err(|error| wrong(format!("it is no SSH signature: {error}")))?;
    if signature.namespace() != NAMESPACE {
        let namespace = medalist_grading::untrusted::Shown::new(signature.namespace());
        return Err(wrong(format!("it was made for `{namespace}` and not for `{NAMESPACE}`")));
    }
    let KeyData::Ed25519(key) = signature.public_key() else {
        return Err(wrong("its key is not of the kind ssh-ed25519".to_owned()));
    };
    let data = SshSig::signed_data(NAMESPACE, signature.hash_alg(), text)
        .map_err(|error| wrong(error.to_string()))?;
    UnparsedPublicKey::new(&ED25519, &key.0)
        .verify(&data, signature.signature_bytes())
        .map_err(|_| wrong("it does not fit what it stands beside".to_owned()))?;
    let fingerprint = KeyData::Ed25519(*key).fingerprint(HashAlg::Sha256).to_string();
    Ok(SignedBy { key: *key, fingerprint })
}

/// Who a key is of by a list: OpenSSH's `allowed_signers`, or public keys, one a line. `None` if it is
/// not in the list.
///
/// # Errors
/// [`SignError`] if the list cannot be read or a line is none.
pub fn signer_of(list: &Path, by: &SignedBy) -> Result<Option<String>, SignError> {
    let text = std::fs::read_to_string(list).map_err(StoreError::io("read", list))?;
    let mut found = None;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |why: &str| SignError::Signers {
            path: list.to_owned(),
            line: number,
            why: why.to_owned(),
        };
        let at = line.find("ssh-ed25519 ").ok_or_else(|| wrong("expected `ssh-ed25519 …`"))?;
        let (before, key) = line.split_at(at);
        if let Some(option) = ["cert-authority", "valid-after", "valid-before"]
            .into_iter()
            .find(|option| before.contains(option))
        {
            return Err(wrong(&format!("`{option}` is not known here")));
        }
        let key = PublicKey::from_openssh(key).map_err(|error| wrong(&error.to_string()))?;
        let for_others = before.split_once("namespaces=\"").is_some_and(|(_, rest)| {
            let (names, _) = rest.split_once('"').unwrap_or((rest, ""));
            !names.split(',').any(|name| name == NAMESPACE)
        });
        if *key.key_data() == KeyData::Ed25519(by.key) && !for_others && found.is_none() {
            let name = before.split_whitespace().next();
            let name = name.map_or_else(|| key.comment().to_string(), str::to_owned);
            found = Some(medalist_grading::untrusted::Shown::new(&name).into_string());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_text_alone() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("key");
        let line = Signer::generate(&path, "me@example.org").unwrap();
        assert!(line.starts_with("ssh-ed25519 ") && line.ends_with(" me@example.org"), "{line}");
        assert!(Signer::generate(&path, "again").is_err(), "no key is written over");
        let signer = Signer::read(&path).unwrap();
        let signature = signer.sign(b"text").unwrap();
        assert_eq!(signature, signer.sign(b"text").unwrap(), "the same bytes each time");
        let by = verify(b"text", signature.as_bytes()).unwrap();
        assert!(by.fingerprint.starts_with("SHA256:"), "{by:?}");
        for (text, signature) in [
            (&b"other"[..], signature.clone()),
            (b"text", signature.replace("SSH", "PGP")),
            (b"text", signature[..signature.len() / 2].to_owned()),
            (b"text", String::new()),
        ] {
            assert!(matches!(verify(text, signature.as_bytes()), Err(SignError::Signature(_))));
        }

        let list = temp.path().join("signers");
        for (text, name) in [
            (
                format!("# a list\nboard@example.org namespaces=\"medalist\" {line}\n"),
                Some("board@example.org"),
            ),
            (line.clone(), Some("me@example.org")),
            (format!("board@example.org namespaces=\"git,file\" {line}\n"), None),
            (String::new(), None),
        ] {
            std::fs::write(&list, text).unwrap();
            assert_eq!(signer_of(&list, &by).unwrap().as_deref(), name);
        }
        for text in ["x ssh-rsa AAAA", "ssh-ed25519 AAAA", "a cert-authority ssh-ed25519 AAAA"] {
            std::fs::write(&list, text).unwrap();
            assert!(
                matches!(signer_of(&list, &by), Err(SignError::Signers { line: 1, .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_plain_ed25519_key_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("key");
        assert!(matches!(Signer::read(&path), Err(SignError::File(_))));
        std::fs::write(&path, "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n").unwrap();
        assert!(matches!(Signer::read(&path), Err(SignError::Key { .. })));
    }
}
