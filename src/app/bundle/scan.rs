//! Reads a file that goes into a bundle to its end: for its hash, and for what must not get out.
//!
//! Secrets are searched for as they are and in base64, answers by blocks of their bytes. Both are also
//! searched for in what gzip has packed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use medalist_llm::Needles;
use memchr::memmem::Finder;
use sha2::{Digest as _, Sha256};

use super::pick::Picked;
use crate::app::context::Context;
use crate::attempt::plan::Plan;
use crate::host::files::{StoreError, file_sha256, read_json};
use crate::host::kaggle::{Credentials, Found};
use crate::host::store::GroupDir;

/// Bytes that are looked at together.
const PIECE: usize = 1 << 20;
/// Most of what a file unpacks to.
const UNPACKED: u64 = 4 << 30;
/// How many blocks of the answers are searched for.
const BLOCKS: usize = 8;
/// The longest block.
const BLOCK: usize = 512;
/// Answers that are shorter are found by chance.
const SHORTEST: usize = 48;

/// A secret and what it is, in words.
pub struct SecretForms {
    what: String,
    forms: Needles,
}

/// The answers of a competition.
pub struct Answers {
    /// Of the whole file.
    sha256: String,
    blocks: Vec<Finder<'static>>,
}

/// What is searched for in a group's files.
pub struct Wanted {
    secrets: Vec<SecretForms>,
    /// By competition.
    answers: BTreeMap<String, Answers>,
}

/// What a file is and holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned {
    /// Hexadecimal.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
    /// The first secret in it, in words.
    pub secret: Option<String>,
    /// How many blocks of the answers are in it.
    pub answer_blocks: usize,
    /// Whether it is the answers, byte for byte.
    pub is_answers: bool,
}

impl Wanted {
    /// What this machine knows that a group's bundle must not hold: the secrets of its agent, the keys of
    /// its language models, the account of Kaggle, the signing key, and the answers of its competitions.
    pub fn of(group: &GroupDir, plan: &Plan, key: Option<&Path>, context: &Context) -> Self {
        let mut secrets = Vec::new();
        let mut add = |what: String, value: &str| {
            let forms = Needles::new(value.trim());
            if forms.longest() > 0 {
                secrets.push(SecretForms { what, forms });
            }
        };
        let job: BTreeMap<String, String> =
            read_json(&group.root().join("jobs").join("environment.json")).unwrap_or_default();
        for (_, name) in plan.agent.secrets() {
            for value in std::env::var(&name).ok().iter().chain(job.get(&name)) {
                add(format!("the secret `{name}`"), value);
            }
        }
        // With the keys that a gateway service has, or a replay has no need of: agents may have seen them elsewhere.
        let upstreams = plan.llm.as_ref().and_then(|llm| llm.service_config().ok());
        for (name, upstream) in upstreams.into_iter().flat_map(|config| config.upstreams) {
            match upstream.read_key(&name) {
                Ok(Some(value)) => add(format!("the key of `{name}`"), &value),
                Ok(None) => {}
                Err(error) => context.warn(format_args!("{error}; it is not searched for")),
            }
        }
        match Credentials::of_process() {
            Ok(Found { credentials: Credentials::Key { key, .. }, .. })
            | Ok(Found { credentials: Credentials::Token(key), .. }) => {
                add("the key of your Kaggle account".to_owned(), key.expose());
            }
            Err(_) => {}
        }
        let key = key.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        // The first lines of all keys are alike.
        for line in key.lines().skip(2).filter(|line| !line.starts_with("-----")) {
            add("the signing key".to_owned(), line);
        }
        Self { secrets, answers: answers_of(plan, context) }
    }

    /// Competitions whose answers are searched for.
    pub fn competitions(&self) -> impl Iterator<Item = &String> {
        self.answers.keys()
    }

    /// Reads a file to its end.
    ///
    /// # Errors
    /// [`StoreError::Io`] if it cannot be read.
    pub fn scan(&self, file: &Picked) -> Result<Scanned, StoreError> {
        let path = &file.from;
        let answers = file.competition.as_ref().and_then(|id| self.answers.get(id));
        let open = || File::open(path);
        let mut search = Search::new(&self.secrets, answers);
        let mut read = || -> io::Result<(String, u64)> {
            let mut hash = Sha256::new();
            let mut bytes = 0;
            search.read(open()?, |piece| {
                hash.update(piece);
                bytes += piece.len() as u64;
            })?;
            if path.extension().is_some_and(|extension| extension == "gz") {
                // What is no gzip, whatever its name, was searched as it is.
                let _ = search.read(MultiGzDecoder::new(open()?).take(UNPACKED), |_| ());
            }
            Ok((hex::encode(hash.finalize()), bytes))
        };
        let (sha256, bytes) = read().map_err(StoreError::io("read", path))?;
        Ok(Scanned {
            is_answers: answers.is_some_and(|answers| answers.sha256 == sha256),
            secret: search.secret.map(|at| self.secrets[at].what.clone()),
            answer_blocks: search.blocks.iter().filter(|found| **found).count(),
            sha256,
            bytes,
        })
    }
}

impl Scanned {
    /// Whether so many blocks of the answers are no chance.
    pub fn holds_answers(&self) -> bool {
        self.is_answers || self.answer_blocks * 2 >= BLOCKS
    }
}

/// The answers that this machine has of a plan's competitions.
fn answers_of(plan: &Plan, context: &Context) -> BTreeMap<String, Answers> {
    let mut found = BTreeMap::new();
    let Ok(catalogue) = context.catalogue() else { return found };
    for attempt in &plan.attempts {
        let id = &attempt.key.competition;
        if found.contains_key(id) {
            continue;
        }
        let Ok(spec) = catalogue.get(id) else { continue };
        let path = spec.answers_path(&context.data().prepared(&spec.id));
        match answers(&path) {
            Ok(answers) => drop(found.insert(id.clone(), answers)),
            Err(error) => context.warn(format_args!(
                "cannot read the answers of `{id}` ({error}); they are not searched for"
            )),
        }
    }
    found
}

fn answers(path: &Path) -> io::Result<Answers> {
    use std::os::unix::fs::FileExt as _;
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let size = (BLOCK as u64).min(length / BLOCKS as u64).max((SHORTEST as u64).min(length));
    let mut blocks = Vec::new();
    if length >= SHORTEST as u64 {
        let last = length - size;
        for number in 0..BLOCKS as u64 {
            let mut block = vec![0; size as usize];
            file.read_exact_at(&mut block, last * number / (BLOCKS as u64 - 1))?;
            blocks.push(Finder::new(&block).into_owned());
        }
    }
    let (sha256, _) = file_sha256(path).map_err(io::Error::other)?;
    Ok(Answers { sha256, blocks })
}

/// What was found so far.
struct Search<'a> {
    secrets: &'a [SecretForms],
    answers: &'a [Finder<'static>],
    /// Bytes of a piece that are looked at again with the next one.
    overlap: usize,
    secret: Option<usize>,
    blocks: Vec<bool>,
}

impl<'a> Search<'a> {
    fn new(secrets: &'a [SecretForms], answers: Option<&'a Answers>) -> Self {
        let answers = answers.map_or(&[][..], |answers| &answers.blocks);
        let longest = secrets.iter().map(|secret| secret.forms.longest());
        let longest = longest.chain(answers.iter().map(|block| block.needle().len())).max();
        Self {
            secrets,
            answers,
            overlap: longest.unwrap_or(0).saturating_sub(1),
            secret: None,
            blocks: vec![false; answers.len()],
        }
    }

    /// Reads to the end; `each` gets every byte once.
    fn read(&mut self, mut from: impl Read, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut buffer = vec![0; PIECE + self.overlap];
        let mut kept = 0;
        loop {
            let count = match from.read(&mut buffer[kept..]) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            each(&buffer[kept..kept + count]);
            let end = kept + count;
            self.look(&buffer[..end]);
            kept = self.overlap.min(end);
            buffer.copy_within(end - kept..end, 0);
        }
    }

    fn look(&mut self, text: &[u8]) {
        if self.secret.is_none() {
            self.secret = self.secrets.iter().position(|secret| secret.forms.found_in(text));
        }
        for (found, block) in self.blocks.iter_mut().zip(self.answers) {
            *found = *found || block.find(text).is_some();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn wanted(folder: &Path, answers_text: &str) -> Wanted {
        let path = folder.join("answers.csv");
        std::fs::write(&path, answers_text).unwrap();
        let secret = SecretForms { what: "s".to_owned(), forms: Needles::new("0123456789abcdef") };
        let answers = answers(&path).unwrap();
        Wanted { secrets: vec![secret], answers: [("c".to_owned(), answers)].into() }
    }

    fn scan(wanted: &Wanted, path: &Path) -> Scanned {
        let competition = Some("c".to_owned());
        let file = Picked {
            from: path.to_owned(),
            path: String::new(),
            part: None,
            competition,
            attempt: None,
        };
        wanted.scan(&file).unwrap()
    }

    #[test]
    fn what_must_not_get_out_is_found_wherever_it_lies() {
        let temp = tempfile::tempdir().unwrap();
        let rows: String = (0..2000).map(|row| format!("{row},{}\n", row * 7919 % 1009)).collect();
        let wanted = wanted(temp.path(), &rows);
        let path = temp.path().join("file");
        for at in [0, 5, PIECE - 8, PIECE, PIECE + 600, 3 * PIECE - 3] {
            let mut text = vec![b'-'; 3 * PIECE + 100];
            text[at..at + 16].copy_from_slice(b"0123456789abcdef");
            std::fs::write(&path, &text).unwrap();
            let found = scan(&wanted, &path);
            assert_eq!((found.secret.as_deref(), found.bytes), (Some("s"), text.len() as u64));
            assert_eq!(found.sha256, file_sha256(&path).unwrap().0);
            assert!(!found.holds_answers());
        }
        let gz = temp.path().join("file.gz");
        let mut pack =
            flate2::write::GzEncoder::new(File::create(&gz).unwrap(), flate2::Compression::fast());
        pack.write_all(b"x 0123456789abcdef").unwrap();
        pack.finish().unwrap();
        assert!(scan(&wanted, &gz).secret.is_some());

        std::fs::write(&path, format!("# mine\n{rows}")).unwrap();
        let copy = scan(&wanted, &path);
        assert!(copy.holds_answers() && !copy.is_answers && copy.secret.is_none(), "{copy:?}");
        assert!(scan(&wanted, &temp.path().join("answers.csv")).is_answers);
        let guesses: String = (0..2000).map(|row| format!("{row},{}\n", row % 3)).collect();
        std::fs::write(&path, guesses).unwrap();
        assert!(!scan(&wanted, &path).holds_answers());
    }

    #[test]
    fn answers_of_a_few_bytes_are_not_searched_for() {
        let temp = tempfile::tempdir().unwrap();
        let wanted = wanted(temp.path(), "id,y\n1,0\n");
        let path = temp.path().join("file");
        std::fs::write(&path, "id,y\n1,0\n2,0\n").unwrap();
        assert!(!scan(&wanted, &path).holds_answers());
    }
}
