//! Makes the clients in a container trust one more authority: that of the gateway's certificate.
//!
//! Clients look in two kinds of places. Some read the system's bundle, which gets the authority at
//! its end; others go by variables, which name our own bundle: what the image trusts, and the
//! authority. Nothing of the image is run, and nothing of it need be there.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::dir::{Dir, cannot};
use crate::protocol::{BUNDLE, CA, Failure, TRUST_DIR};
use crate::sys;

/// Where systems keep their bundle: Debian and Alpine, Red Hat, Arch, their other names, SUSE, and
/// where programs that were built elsewhere look. The first that is there is what the image trusts.
const BUNDLES: [&str; 10] = [
    "etc/ssl/certs/ca-certificates.crt",
    "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "etc/ca-certificates/extracted/tls-ca-bundle.pem",
    "etc/pki/tls/certs/ca-bundle.crt",
    "etc/ssl/cert.pem",
    "etc/pki/tls/cert.pem",
    "etc/pki/tls/cacert.pem",
    "etc/ssl/ca-bundle.pem",
    "var/lib/ca-certificates/ca-bundle.pem",
    "usr/lib/ssl/cert.pem",
];
/// Where Debian's `update-ca-certificates` finds authorities to keep.
const LOCAL: (&str, &str) = ("usr/local/share/ca-certificates", "medalist.crt");
/// Variables by which an image may name a bundle of its own.
const OWN: [&str; 4] =
    ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"];
/// No bundle is larger.
const LIMIT: u64 = 16 << 20;

/// The bundles that the image names in its variables, which are this process's or, without an
/// engine, the agent's.
pub(crate) fn own_bundles(env: &[(String, String)]) -> Vec<PathBuf> {
    let given = |name: &str| Some(PathBuf::from(&env.iter().find(|(known, _)| known == name)?.1));
    let named = |name: &&str| std::env::var_os(name).map(PathBuf::from).or_else(|| given(name));
    OWN.iter().filter_map(named).collect()
}

/// Puts the authority in every place; gives the bytes that this added to the container's layer. The
/// first bundle of `own` that can be read is what the image trusts, else the first of the system's:
/// one that is a link to somewhere else is read as well, and never written.
pub(crate) fn install(root: &Dir, control: &Dir, own: &[PathBuf]) -> Result<u64, Failure> {
    let ca = control.text(CA, 64 << 10).map_err(Failure::of_machine)?;
    let own = own.iter().filter_map(|path| read_named(path));
    let plain = BUNDLES.iter().filter_map(|path| read_bundle(root, path));
    let linked = BUNDLES.iter().filter_map(|path| read_named(&root.at(path)));
    let trusted = own.chain(plain).chain(linked).next();
    let bundle = joined(&trusted.unwrap_or_default(), &ca);

    let dir = root.dir_or_new(TRUST_DIR)?;
    dir.set_mode(0o755)?;
    for (name, text) in [(CA, ca.as_bytes()), (BUNDLE, bundle.as_slice())] {
        let written = dir.new_file(name, 0o644)?.write_all(text);
        written.map_err(|error| cannot("write", &dir.named(name), &error))?;
    }
    let mut added = (ca.len() + bundle.len()) as u64;
    for path in BUNDLES {
        added += append(root, path, &ca).unwrap_or(0);
    }
    if let Some(local) = walk(root, LOCAL.0)
        && let Ok(mut file) = local.new_file(LOCAL.1, 0o644)
    {
        // A system that has no room for it is served by the variables all the same.
        let _ = file.write_all(ca.as_bytes());
    }
    Ok(added)
}

/// The directory at a path below the root, if it is there and no link is in the way.
fn walk(root: &Dir, path: &str) -> Option<Dir> {
    let mut names = path.split('/');
    let first = root.dir(names.next()?).ok()?;
    names.try_fold(first, |dir, name| dir.dir(name).ok())
}

/// The file at a path below the root. Where one place is a link to another, that other is in the
/// list too.
fn open(root: &Dir, path: &str, options: &mut std::fs::OpenOptions) -> Option<File> {
    let (dir, name) = path.rsplit_once('/')?;
    walk(root, dir)?.plain_file(name, options).ok()
}

fn read_bundle(root: &Dir, path: &str) -> Option<Vec<u8>> {
    certificates(open(root, path, File::options().read(true))?)
}

/// A bundle that the image names. Its links are followed: what is read goes to the agent, which may
/// read the same.
fn read_named(path: &Path) -> Option<Vec<u8>> {
    let file = File::options().read(true).custom_flags(sys::O_NONBLOCK).open(path).ok()?;
    certificates(file)
}

/// The content of a plain file, if it has certificates.
fn certificates(file: File) -> Option<Vec<u8>> {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    let facts = file.metadata().ok()?;
    if !facts.is_file() || facts.len() > LIMIT {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(LIMIT).read_to_end(&mut bytes).ok()?;
    bytes.windows(BEGIN.len()).any(|part| part == BEGIN).then_some(bytes)
}

fn joined(bundle: &[u8], ca: &str) -> Vec<u8> {
    let gap: &[u8] = if bundle.is_empty() || bundle.ends_with(b"\n") { b"" } else { b"\n" };
    [bundle, gap, ca.as_bytes()].concat()
}

/// Adds the authority to a bundle of the system; the bytes that the layer grows by.
fn append(root: &Dir, path: &str, ca: &str) -> Option<u64> {
    let before = read_bundle(root, path)?;
    // A bundle that is mounted read-only stays as it is.
    let mut file = open(root, path, File::options().append(true))?;
    let whole = joined(&before, ca);
    file.write_all(&whole[before.len()..]).ok()?;
    file.metadata().ok().map(|facts| facts.blocks() * 512)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nours\n-----END CERTIFICATE-----\n";
    const SYSTEM: &str = "# system\n-----BEGIN CERTIFICATE-----\ntheirs\n-----END CERTIFICATE-----";

    /// A root with these files, and a control directory with the authority.
    fn image(name: &str, files: &[(&str, &str)]) -> (PathBuf, Dir, Dir) {
        let path =
            std::env::temp_dir().join(format!("medalist-trust-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        for (file, text) in files.iter().chain([&("control/ca.pem", CERTIFICATE)]) {
            let file = path.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let root = Dir::open(&path).unwrap();
        let control = root.dir("control").unwrap();
        (path, root, control)
    }

    #[test]
    fn every_bundle_that_is_there_gets_the_authority_and_none_is_made() {
        let (path, root, control) = image(
            "all",
            &[
                ("etc/ssl/certs/ca-certificates.crt", SYSTEM),
                ("etc/pki/tls/certs/ca-bundle.crt", CERTIFICATE),
                ("usr/local/share/ca-certificates/other.crt", ""),
            ],
        );
        assert!(install(&root, &control, &[]).unwrap() > 0);
        let read = |name: &str| fs::read_to_string(path.join(name)).unwrap();
        let whole = format!("{SYSTEM}\n{CERTIFICATE}");
        assert_eq!(read("etc/ssl/certs/ca-certificates.crt"), whole);
        assert_eq!(read("medalist/bundle.pem"), whole);
        assert_eq!(read("medalist/ca.pem"), CERTIFICATE);
        assert_eq!(read("etc/pki/tls/certs/ca-bundle.crt"), CERTIFICATE.repeat(2));
        assert_eq!(read("usr/local/share/ca-certificates/medalist.crt"), CERTIFICATE);
        assert!(!path.join("etc/ssl/cert.pem").exists());
        for (name, mode) in [("medalist", 0o755), ("medalist/bundle.pem", 0o644)] {
            assert_eq!(fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o777, mode);
        }
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn an_image_without_authorities_trusts_ours_alone() {
        let (path, root, control) = image("none", &[("etc/ssl/cert.pem", "no certificate")]);
        install(&root, &control, &[]).unwrap();
        let read = |name: &str| fs::read_to_string(path.join(name)).unwrap();
        assert_eq!(read("medalist/bundle.pem"), CERTIFICATE);
        assert_eq!(read("etc/ssl/cert.pem"), "no certificate");
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_bundle_that_the_image_names_goes_before_the_systems() {
        let named = "-----BEGIN CERTIFICATE-----\nown\n-----END CERTIFICATE-----\n";
        let files = [("etc/ssl/certs/ca-certificates.crt", SYSTEM), ("opt/own.pem", named)];
        let (path, root, control) = image("own", &files);
        let own = [path.join("opt/missing.pem"), path.join("opt/own.pem")];
        install(&root, &control, &own).unwrap();
        let bundle = fs::read_to_string(path.join("medalist/bundle.pem")).unwrap();
        assert_eq!(bundle, format!("{named}{CERTIFICATE}"));
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn links_and_pipes_of_the_image_are_not_written_through() {
        let (path, root, control) = image("links", &[("outside/file", SYSTEM)]);
        fs::create_dir_all(path.join("etc/ssl")).unwrap();
        std::os::unix::fs::symlink(path.join("outside"), path.join("etc/ssl/certs")).unwrap();
        std::os::unix::fs::symlink(path.join("outside/file"), path.join("etc/ssl/cert.pem"))
            .unwrap();
        install(&root, &control, &[]).unwrap();
        assert_eq!(fs::read_to_string(path.join("outside/file")).unwrap(), SYSTEM);
        let bundle = fs::read_to_string(path.join("medalist/bundle.pem")).unwrap();
        assert_eq!(bundle, format!("{SYSTEM}\n{CERTIFICATE}"), "what the image trusts is kept");

        fs::remove_dir_all(path.join("medalist")).unwrap();
        std::os::unix::fs::symlink(path.join("outside"), path.join("medalist")).unwrap();
        let failure = install(&root, &control, &[]).unwrap_err();
        assert!(failure.message.contains("medalist"), "{}", failure.message);
        assert!(!path.join("outside/ca.pem").exists());
        fs::remove_dir_all(path).unwrap();
    }
}
